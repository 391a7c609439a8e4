#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

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
//   content HEX             for each part of Map::contents(), "-" for an empty one
//   like SPEC... LOCK TIMER of a map of maps: what all inner maps are like, and where their values
//                           have a spin lock and a timer; -1 for none
//   inner                   for each inner map without a pin of its own, numbered from 0: the lines
//   ... end                 from "spec" on, for that map
//   slot KEY_HEX NUMBER     where an inner map is
//   pin KEY_HEX PATH        the same of one that is pinned at PATH of the emulated machine
//   end
//
// An inner map without a pin that two pinned maps share comes back as two, and so does a map that
// is pinned twice. What names other live objects does not outlive a run: programs in prog_arrays,
// devmaps and cpumaps (an entry with a program goes, one without stays), sockets, perf events.
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
  std::vector<std::vector<uint8_t>> contents;
  std::optional<MapSpec> like;
  std::vector<SavedMap> inner;
  struct Slot {
    std::vector<uint8_t> key;
    size_t inner;     // number, where `pin` is empty
    std::string pin;  // path
  };
  std::vector<Slot> slots;
};

// The path of a map's pin, empty for one without.
using PinOf = std::function<std::string(const Map&)>;

// Written beside it and renamed over `path`: whole or not at all.
Result<void> write_pin_file(const std::string& path, Map& map, const PinOf& pin_of);
Result<SavedMap> read_pin_file(const std::string& path);

}  // namespace xnic::vm
