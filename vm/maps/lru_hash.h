#pragma once

#include "vm/map.h"

namespace xnic::vm {

// BPF_MAP_TYPE_LRU_HASH and BPF_MAP_TYPE_LRU_PERCPU_HASH: hash maps that are never full: a new key
// evicts others, chosen by vm/maps/lru.h. With BPF_F_NO_COMMON_LRU each CPU's keys have room for
// max_entries / CPUs, and max_entries is rounded up to a multiple of the CPUs. See MapType for what
// check and create answer.
int check_lru_hash(const MapSpec& spec);
int check_lru_percpu_hash(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_lru_hash(const MapSpec& spec,
                                                        const MapContext& context);
tl::expected<std::shared_ptr<Map>, int> create_lru_percpu_hash(const MapSpec& spec,
                                                               const MapContext& context);

}  // namespace xnic::vm
