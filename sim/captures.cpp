// Test: tests/sim/interfaces_command_test.cpp.
#include "sim/captures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <utility>

namespace xnic::sim {
namespace {

struct Request {
  const vm::Interface* interface;
  std::string path;
};

Result<Request> parse(const std::string& text, const vm::Network& network) {
  const size_t equals = text.find('=');
  // An equals sign belongs to the path where a file of that whole name exists.
  if (equals == std::string::npos || std::filesystem::exists(text)) {
    const vm::Interface* first = network.by_index(vm::kNicIfindex);
    if (first != nullptr) return Request{first, text};
    return fail(ExitCode::bad_input,
                "--net: no interface has the index {}, by which packets of a capture come in; say "
                "where with -r INTERFACE={}",
                vm::kNicIfindex, text);
  }
  const std::string name = text.substr(0, equals);
  const vm::Interface* named = network.by_name(name);
  if (equals + 1 == text.size()) {
    return fail(ExitCode::usage, "-r {}: write it as INTERFACE=CAPTURE", text);
  }
  if (named == nullptr) {
    std::vector<std::string> names;
    for (const vm::Interface& known : network.interfaces) names.push_back(known.name);
    return fail(ExitCode::usage, "-r {}: there is no interface {}; there are {}", text, name,
                fmt::join(names, ", "));
  }
  if (named->ifindex == vm::kLoopbackIfindex) {
    return fail(ExitCode::usage, "-r {}: nothing comes in from outside at {}", text, name);
  }
  return Request{named, text.substr(equals + 1)};
}

}  // namespace

std::vector<Report::Capture> Captures::summary() const {
  std::vector<Report::Capture> all;
  for (size_t i = 0; i < entrances.size(); ++i) {
    const traces::Reader& one = *reader->readers()[i];
    all.push_back({network->by_index(entrances[i])->name, one.path(), one.packets(), one.bytes()});
  }
  return all;
}

Result<Captures> open_captures(const std::vector<std::string>& requests, const vm::Network& network,
                               const std::string& filter, bool strict) {
  Captures captures;
  captures.network = &network;
  std::vector<Request> parsed;
  bool from_stdin = false;
  for (const std::string& text : requests) {
    auto request = parse(text, network);
    if (!request) return tl::unexpected(request.error());
    if (request->path == "-" && std::exchange(from_stdin, true)) {
      return fail(ExitCode::usage, "-r {}: standard input can be read once only", text);
    }
    parsed.push_back(std::move(*request));
  }
  std::vector<std::unique_ptr<traces::Reader>> readers;
  for (const Request& request : parsed) {
    auto reader = traces::Reader::open(request.path, filter, {.strict = strict});
    if (!reader) return tl::unexpected(reader.error());
    readers.push_back(std::move(*reader));
    const uint32_t ifindex = request.interface->ifindex;
    captures.entrances.push_back(ifindex);
    if (std::ranges::find(captures.ports, ifindex) == captures.ports.end()) {
      captures.ports.push_back(ifindex);
    }
  }
  captures.reader = std::make_unique<traces::MergedReader>(std::move(readers));
  return captures;
}

}  // namespace xnic::sim
