// xnic map: maps that a run saved, read and edited with the words and in the JSON of bpftool map.
// Test: tests/sim/saved_maps_test.cpp.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <optional>

#include "sim/commands/command.h"
#include "sim/json.h"
#include "sim/map_file.h"
#include "sim/map_json.h"
#include "sim/saved_maps.h"

namespace xnic::sim {
namespace {

using Bytes = std::vector<uint8_t>;
using Words = std::vector<std::string>;

// What stands behind "xnic map ACTION".
struct Request {
  SavedMaps& maps;
  std::string name;  // of the map; empty where none is given
  Words words;       // behind the name
};

struct Action {
  std::string_view name;
  std::string_view words;
  Result<ExitCode> (*run)(const Request&);
};

bool starts_part(const std::string& word) {
  return word == "key" || word == "value" || word == "any" || word == "exist" || word == "noexist";
}

// The bytes behind "key" or "value": decimal or 0x, or after "hex" without the 0x.
Result<Bytes> bytes_at(const Words& words, size_t& at) {
  const std::string part = words[at++];
  const bool hex = at < words.size() && words[at] == "hex";
  if (hex) ++at;
  Bytes bytes;
  for (; at < words.size() && !starts_part(words[at]); ++at) {
    const std::string& word = words[at];
    std::optional<Bits128> byte;
    if (hex || word.starts_with("0x")) {
      byte = parse_hex(word.starts_with("0x") ? word : "0x" + word);
    } else if (!word.empty() && word.size() <= 3 &&
               word.find_first_not_of("0123456789") == std::string::npos) {
      byte = std::stoul(word);
    }
    if (!byte || *byte > 0xff) {
      return fail(ExitCode::usage, "{}: {} is not a byte; write 0 to 255, 0x0a, or hex 0a ...",
                  part, word);
    }
    bytes.push_back(static_cast<uint8_t>(*byte));
  }
  return bytes;
}

// The parts of "key DATA value DATA [any|exist|noexist]".
struct Parts {
  Bytes key;
  Bytes value;
  bool has_value = false;
  uint64_t flags = BPF_ANY;
};

Result<Parts> parse_parts(const Request& request, vm::Map& map) {
  Parts parts;
  for (size_t at = 0; at < request.words.size();) {
    const std::string word = request.words[at];
    if (word == "key" || word == "value") {
      auto bytes = bytes_at(request.words, at);
      if (!bytes) return tl::unexpected(bytes.error());
      (word == "key" ? parts.key : parts.value) = std::move(*bytes);
      parts.has_value = parts.has_value || word == "value";
    } else if (starts_part(word)) {
      parts.flags = word == "any" ? BPF_ANY : word == "exist" ? BPF_EXIST : BPF_NOEXIST;
      ++at;
    } else {
      return fail(ExitCode::usage, "{}: expected key, value, any, exist or noexist", word);
    }
  }
  const vm::MapSpec& spec = map.spec();
  if (parts.key.size() != spec.key_size) {
    return fail(ExitCode::usage, "key has {} bytes, map {} has keys of {} bytes", parts.key.size(),
                request.name, spec.key_size);
  }
  if (parts.has_value && parts.value.size() != spec.value_size) {
    return fail(ExitCode::usage, "value has {} bytes, map {} has values of {} bytes",
                parts.value.size(), request.name, spec.value_size);
  }
  return parts;
}

void print(const Json& json) {
  fmt::print("{}\n", json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Result<ExitCode> dump(const Request& request) {
  if (!request.words.empty()) {
    return fail(ExitCode::usage, "xnic map dump takes FILE and NAME, not {}", request.words[0]);
  }
  if (!request.name.empty()) {
    const auto map = request.maps.find(request.name);
    if (!map) return tl::unexpected(map.error());
    // A live map prints what JSON objects cannot hold: members of the same name.
    const auto live = request.maps.revive(request.name);
    const auto text = live ? dump_map(**live) : Result<std::string>((**map)["entries"].dump());
    if (!text) return tl::unexpected(text.error());
    fmt::print("{}\n", *text);
    return ExitCode::done;
  }
  Json all = Json::array();
  for (const std::string& name : request.maps.names()) {
    const auto map = request.maps.find(name);
    if (!map) return tl::unexpected(map.error());
    Json shown = **map;
    shown["elements"] = shown["entries"];
    shown.erase("entries");
    all.push_back(std::move(shown));
  }
  print(all);
  return ExitCode::done;
}

Result<ExitCode> lookup(const Request& request) {
  const auto map = request.maps.revive(request.name);
  if (!map) return tl::unexpected(map.error());
  const auto parts = parse_parts(request, **map);
  if (!parts) return tl::unexpected(parts.error());
  const auto text = dump_entry(**map, parts->key);
  if (!text) return tl::unexpected(text.error());
  fmt::print("{}\n", *text);
  return ExitCode::done;
}

// The map that an edit is for, with what it holds in the file.
Result<std::shared_ptr<vm::Map>> for_editing(const Request& request) {
  if (auto may = request.maps.writable(request.name); !may) return tl::unexpected(may.error());
  return request.maps.revive(request.name);
}

Result<ExitCode> finish(const Request& request, vm::Map& map, int error) {
  if (error != 0) {
    return fail(ExitCode::expectation_failed, "map {} refuses it: {}", request.name,
                std::strerror(-error));
  }
  if (auto written = request.maps.replace(request.name, map); !written) {
    return tl::unexpected(written.error());
  }
  return ExitCode::done;
}

Result<ExitCode> update(const Request& request) {
  const auto map = for_editing(request);
  if (!map) return tl::unexpected(map.error());
  const auto parts = parse_parts(request, **map);
  if (!parts) return tl::unexpected(parts.error());
  if (!parts->has_value) return fail(ExitCode::usage, "xnic map update needs value DATA");
  // The value of a per-CPU map goes to all CPUs, each in its own 8-byte multiple.
  Bytes stored = parts->value;
  const uint32_t size = (*map)->user_value_size();
  if (size != parts->value.size()) {
    stored.resize((parts->value.size() + 7) / 8 * 8);
    const Bytes one = stored;
    while (stored.size() < size) stored.insert(stored.end(), one.begin(), one.end());
  }
  return finish(request, **map,
                (*map)->user_update(parts->key.data(), stored.data(), parts->flags));
}

Result<ExitCode> erase(const Request& request) {
  const auto map = for_editing(request);
  if (!map) return tl::unexpected(map.error());
  const auto parts = parse_parts(request, **map);
  if (!parts) return tl::unexpected(parts.error());
  return finish(request, **map, (*map)->user_erase(parts->key.data()));
}

constexpr std::array kActions = {
    Action{"dump", "FILE [NAME]", dump},
    Action{"lookup", "FILE NAME key DATA", lookup},
    Action{"update", "FILE NAME key DATA value DATA [any|exist|noexist]", update},
    Action{"delete", "FILE NAME key DATA", erase},
};

std::string help() {
  std::string text =
      "Reads and edits the maps in a file that xnic run --dump-maps FILE wrote.\nUsage:\n";
  for (const Action& action : kActions) {
    text += fmt::format("  xnic map {} {}\n", action.name, action.words);
  }
  return text +
         "\nDATA: bytes such as 10 0x0a, or hex 0a 00 00 00. Output has the shape of\n"
         "bpftool -j map. An edit writes the file anew, whole or not at all.\n"
         "Exit codes: 0 done, 1 no such entry or refused by the map, 2 usage, 4 bad input.\n";
}

}  // namespace

Result<ExitCode> map_command(int argc, char** argv) {
  const Words words(argv + 1, argv + argc);
  if (!words.empty() && (words[0] == "--help" || words[0] == "-h" || words[0] == "help")) {
    fmt::print("{}", help());
    return ExitCode::done;
  }
  if (words.empty()) return fail(ExitCode::usage, "xnic map: say what to do\n{}", help());
  for (const Action& action : kActions) {
    if (action.name != words[0]) continue;
    const bool needs_name = action.name != "dump";
    if (words.size() < (needs_name ? 3u : 2u)) {
      return fail(ExitCode::usage, "write xnic map {} {}", action.name, action.words);
    }
    auto maps = SavedMaps::read(words[1]);
    if (!maps) return tl::unexpected(maps.error());
    const auto behind = words.begin() + static_cast<ptrdiff_t>(std::min<size_t>(words.size(), 3));
    return action.run({*maps, words.size() > 2 ? words[2] : "", {behind, words.end()}});
  }
  return fail(ExitCode::usage, "xnic map: there is no {}; see xnic map --help", words[0]);
}

}  // namespace xnic::sim
