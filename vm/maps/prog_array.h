#pragma once

#include <atomic>

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_PROG_ARRAY: the programs that bpf_tail_call can go to, by u32 index. User space
// writes descriptors and reads program ids. See MapType for what check and create answer.
int check_prog_array(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_prog_array(const MapSpec& spec,
                                                          const MapContext& context);

// For machine code, where it goes on for each slot of a prog_array, as Code::entry() says; null
// until it is noted. What a run finds there stays for as long as it is in a GraceSection. No table
// for a map of another type.
const std::atomic<const void*>* tail_call_entries(const Map& map);
// Notes it for a slot, if that still holds the program.
void note_tail_call_entry(Map& map, uint32_t index, const Program& program);

}  // namespace xnic::vm
