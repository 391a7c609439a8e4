#pragma once

#include <string>

#include "vm/map.h"
#include "vm/result.h"

namespace xnic::vm {

// A pinned map between two runs, as a text file:
//
//   xnic pinned map 1
//   spec TYPE KEY_SIZE VALUE_SIZE MAX_ENTRIES FLAGS MAP_EXTRA KEY_TYPE_ID VALUE_TYPE_ID FROZEN
//   name NAME
//   btf HEX                 where the map has BTF
//   entry KEY_HEX VALUE_HEX for each entry, the value as user space sees it
//   end
//
// Values that name live objects (programs, maps, devices, CPUs, sockets) and the contents of maps
// without keys (queues, ring buffers) do not outlive a run: only their spec is kept.
// Test: tests/vm/syscall_pin_test.cpp.
struct SavedMap {
  MapSpec spec;
  bool frozen = false;
  std::vector<uint8_t> btf;
  struct Entry {
    std::vector<uint8_t> key;
    std::vector<uint8_t> value;
  };
  std::vector<Entry> entries;
};

// Written beside it and renamed over `path`: whole or not at all.
Result<void> write_pin_file(const std::string& path, Map& map);
Result<SavedMap> read_pin_file(const std::string& path);

}  // namespace xnic::vm
