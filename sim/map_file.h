#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vm/map.h"
#include "vm/result.h"

namespace xnic::sim {

// Puts the entries of a JSON file into `map` (BPF_ANY). The file has the shape of bpftool map
// dump: a list of {"key": K, "value": V}, or of {"key": K, "values": [{"cpu": 0, "value": V}]} for
// a per-CPU map, where a single "value" goes to all CPUs and CPUs that are not named get zeros.
// K and V are
//  - a list of all bytes, each "0x0a" or 0 to 255 (bpftool -j);
//  - for a map with BTF, what bpftool prints by type: {"packets": 3, "proto": "PROTO_TCP"};
//    struct members that are not named are zero, variables of a data section keep their value;
//  - for a map without BTF, an integer or "0x..." if it has 1, 2, 4 or 8 bytes (little endian).
// "formatted" beside raw bytes is not looked at. The key may be left out in an array of one entry.
//
// All or nothing: an error leaves the map as it was. Maps of programs, maps or sockets, and
// those that user space may not write, are refused. An error (bad_input) names the file, the line
// and column or the entry's number, and the field.
Result<void> fill_map(vm::Map& map, const std::string& path);

// The same from text in memory; `path` is for sentences.
Result<void> fill_map_from_text(vm::Map& map, std::string_view text, const std::string& path);

// The whole of a file that holds map contents. Error (bad_input): a sentence that names it.
Result<std::string> read_map_file(const std::string& path);

// The entry that user space finds under `key` (key_size bytes), in the shape of dump_map. Error
// (expectation_failed) if there is none.
Result<std::string> dump_entry(vm::Map& map, std::span<const uint8_t> key);

// All entries, in the map's own order, as bpftool -j map dump prints them, "formatted" included
// where the map has BTF; without a newline.
Result<std::string> dump_map(vm::Map& map);

}  // namespace xnic::sim
