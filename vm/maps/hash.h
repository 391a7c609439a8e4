#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_HASH and BPF_MAP_TYPE_PERCPU_HASH: up to max_entries values by a key of any bytes.
// See MapType for what check and create answer.
int check_hash(const MapSpec& spec);
int check_percpu_hash(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_hash(const MapSpec& spec, const MapContext& context);
tl::expected<std::shared_ptr<Map>, int> create_percpu_hash(const MapSpec& spec,
                                                           const MapContext& context);

}  // namespace xnic::vm
