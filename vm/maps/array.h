#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_ARRAY and BPF_MAP_TYPE_PERCPU_ARRAY: max_entries values by u32 index, all there
// from the start and zero. See MapType for what check and create answer.
int check_array(const MapSpec& spec);
int check_percpu_array(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_array(const MapSpec& spec,
                                                     const MapContext& context);
tl::expected<std::shared_ptr<Map>, int> create_percpu_array(const MapSpec& spec,
                                                            const MapContext& context);

// The order of all maps whose key is an index: 0 after null or an index out of range, -ENOENT
// after the last.
int next_index(uint32_t max_entries, const uint8_t* key, uint8_t* next);
uint32_t read_index(const uint8_t* key);

}  // namespace xnic::vm
