#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_PROG_ARRAY: the programs that bpf_tail_call can go to, by u32 index. User space
// writes descriptors and reads program ids. See MapType for what check and create answer.
int check_prog_array(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_prog_array(const MapSpec& spec,
                                                          const MapContext& context);

}  // namespace xnic::vm
