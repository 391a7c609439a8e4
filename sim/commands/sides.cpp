// Test: tests/sim/comparison_test.cpp and tests/sim/bench_command_test.cpp, through the commands.
#include "sim/commands/sides.h"

#include <fmt/ranges.h>

#include <cstring>

#include "sim/saved_maps.h"
#include "traces/reader.h"

namespace xnic::sim {

Result<std::vector<NumberedPacket>> read_packets(const std::string& path, const std::string& filter,
                                                 bool strict, std::vector<std::string>& warnings) {
  auto reader = traces::Reader::open(path, filter, {.strict = strict});
  if (!reader) return tl::unexpected(reader.error());
  std::vector<NumberedPacket> packets;
  traces::Record record;
  while (true) {
    const auto more = (*reader)->next(record);
    if (!more) return tl::unexpected(more.error());
    if (!*more) break;
    packets.push_back({record.number, {record.bytes.begin(), record.bytes.end()}});
  }
  if ((*reader)->warning()) warnings.push_back(*(*reader)->warning());
  return packets;
}

Result<void> fill_all(KernelSide& ours, std::span<KernelSide* const> others,
                      const std::string& request) {
  const size_t equals = request.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == request.size()) {
    return fail(ExitCode::usage, "--map {}: write it as NAME=FILE.json", request);
  }
  const std::string name = request.substr(0, equals);
  const std::string path = request.substr(equals + 1);
  const SideMap* our_map = ours.map(name);
  if (our_map == nullptr) {
    std::vector<std::string> names;
    for (const SideMap& other : ours.maps()) names.push_back(other.name);
    return fail(ExitCode::usage, "--map {}: there is no map of this name; there are {}", name,
                fmt::join(names, ", "));
  }
  if (auto filled = fill_named_map(*ours.emulated_map(*our_map), name, path); !filled)
    return filled;
  const auto entries = ours.contents(*our_map);
  if (!entries) return {};
  for (KernelSide* other : others) {
    for (const auto& [key, value] : *entries) {
      if (const long error = other->update(*other->map(name), key, value); error != 0) {
        return fail(ExitCode::bad_input, "{}: {} refuses an entry of map {} that xnic takes: {}",
                    path, other->name(), name, std::strerror(static_cast<int>(-error)));
      }
    }
  }
  return {};
}

Result<std::vector<std::string>> chosen_programs(const KernelSide& side, const std::string& object,
                                                 const std::string& wanted) {
  std::vector<std::string> all;
  for (const SideProgram& program : side.programs()) all.push_back(program.name);
  if (wanted.empty()) return all;
  if (side.program(wanted) != nullptr) return std::vector{wanted};
  return fail(ExitCode::usage, "{}: has no XDP or tc program {}; it has {}", object, wanted,
              fmt::join(all, ", "));
}

}  // namespace xnic::sim
