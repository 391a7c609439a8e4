// Options for maps that several commands have. Test: tests/sim/run_command_test.cpp.
#include "sim/commands/map_options.h"

#include "sim/map_file.h"
#include "sim/saved_maps.h"

namespace xnic::sim {

Result<void> fill_maps(const Attachments& attachments, const std::vector<std::string>& requests) {
  for (const std::string& request : requests) {
    const size_t equals = request.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == request.size()) {
      return fail(ExitCode::usage, "--map {}: write it as NAME=FILE.json", request);
    }
    const auto maps = find_maps(attachments, request.substr(0, equals));
    if (!maps) return tl::unexpected(maps.error());
    for (vm::Map* map : *maps) {
      if (auto filled = fill_named_map(*map, request.substr(0, equals), request.substr(equals + 1));
          !filled) {
        return filled;
      }
    }
  }
  return {};
}

Result<void> dump_maps(const Attachments& attachments, const vm::Kernel& kernel,
                       const std::string& path) {
  std::vector<vm::LoadedMap> maps;
  for (const auto& object : attachments.objects) {
    maps.insert(maps.end(), object->maps().begin(), object->maps().end());
  }
  return save_maps(path, maps, kernel.options().possible_cpus);
}

}  // namespace xnic::sim
