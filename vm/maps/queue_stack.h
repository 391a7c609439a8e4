#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_QUEUE and BPF_MAP_TYPE_STACK: up to max_entries values without keys, first in first
// out or last in first out. Full, a push answers -E2BIG, or with BPF_EXIST drops the oldest value.
// See MapType for what check and create answer.
int check_queue_stack(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_queue(const MapSpec& spec,
                                                     const MapContext& context);
tl::expected<std::shared_ptr<Map>, int> create_stack(const MapSpec& spec,
                                                     const MapContext& context);

}  // namespace xnic::vm
