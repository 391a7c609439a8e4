// The map types that exist here, one row each. Adding one: a file pair in vm/maps and its row;
// tests/vm/map_test.cpp picks the row up.
#include <array>

#include "vm/map.h"
#include "vm/maps/array.h"
#include "vm/maps/bloom_filter.h"
#include "vm/maps/cpumap.h"
#include "vm/maps/devmap.h"
#include "vm/maps/hash.h"
#include "vm/maps/lpm_trie.h"
#include "vm/maps/lru_hash.h"
#include "vm/maps/map_in_map.h"
#include "vm/maps/perf_event_array.h"
#include "vm/maps/prog_array.h"
#include "vm/maps/queue_stack.h"
#include "vm/maps/ringbuf.h"
#include "vm/maps/unfilled.h"
#include "vm/maps/xskmap.h"

namespace xnic::vm {
namespace {

constexpr std::array kMapTypes{
    MapType{BPF_MAP_TYPE_HASH, "hash", check_hash, create_hash},
    MapType{BPF_MAP_TYPE_ARRAY, "array", check_array, create_array},
    MapType{BPF_MAP_TYPE_PROG_ARRAY, "prog_array", check_prog_array, create_prog_array},
    MapType{BPF_MAP_TYPE_PERF_EVENT_ARRAY, "perf_event_array", check_perf_event_array,
            create_perf_event_array},
    MapType{BPF_MAP_TYPE_PERCPU_HASH, "percpu_hash", check_percpu_hash, create_percpu_hash},
    MapType{BPF_MAP_TYPE_PERCPU_ARRAY, "percpu_array", check_percpu_array, create_percpu_array},
    MapType{BPF_MAP_TYPE_LPM_TRIE, "lpm_trie", check_lpm_trie, create_lpm_trie},
    MapType{BPF_MAP_TYPE_LRU_HASH, "lru_hash", check_lru_hash, create_lru_hash},
    MapType{BPF_MAP_TYPE_LRU_PERCPU_HASH, "lru_percpu_hash", check_lru_percpu_hash,
            create_lru_percpu_hash},
    MapType{BPF_MAP_TYPE_QUEUE, "queue", check_queue_stack, create_queue},
    MapType{BPF_MAP_TYPE_STACK, "stack", check_queue_stack, create_stack},
    MapType{BPF_MAP_TYPE_BLOOM_FILTER, "bloom_filter", check_bloom_filter, create_bloom_filter},
    MapType{BPF_MAP_TYPE_DEVMAP, "devmap", check_devmap, create_devmap},
    MapType{BPF_MAP_TYPE_DEVMAP_HASH, "devmap_hash", check_devmap, create_devmap_hash},
    MapType{BPF_MAP_TYPE_CPUMAP, "cpumap", check_cpumap, create_cpumap},
    MapType{BPF_MAP_TYPE_XSKMAP, "xskmap", check_xskmap, create_xskmap},
    MapType{BPF_MAP_TYPE_ARRAY_OF_MAPS, "array_of_maps", check_array_of_maps, create_array_of_maps},
    MapType{BPF_MAP_TYPE_HASH_OF_MAPS, "hash_of_maps", check_hash_of_maps, create_hash_of_maps},
    MapType{BPF_MAP_TYPE_RINGBUF, "ringbuf", check_ringbuf, create_ringbuf},
    MapType{BPF_MAP_TYPE_STACK_TRACE, "stack_trace", check_stack_trace, create_unfilled},
    MapType{BPF_MAP_TYPE_CGROUP_ARRAY, "cgroup_array", check_cgroup_array, create_unfilled},
    MapType{BPF_MAP_TYPE_CGROUP_STORAGE, "cgroup_storage", check_cgroup_storage, create_unfilled},
    MapType{BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, "percpu_cgroup_storage", check_cgroup_storage,
            create_unfilled},
    MapType{BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, "reuseport_sockarray", check_sockmap,
            create_unfilled},
    MapType{BPF_MAP_TYPE_SOCKMAP, "sockmap", check_sockmap, create_unfilled},
    MapType{BPF_MAP_TYPE_SOCKHASH, "sockhash", check_sockhash, create_unfilled},
    MapType{BPF_MAP_TYPE_SK_STORAGE, "sk_storage", check_local_storage, create_unfilled},
    MapType{BPF_MAP_TYPE_INODE_STORAGE, "inode_storage", check_local_storage, create_unfilled},
    MapType{BPF_MAP_TYPE_TASK_STORAGE, "task_storage", check_local_storage, create_unfilled},
    MapType{BPF_MAP_TYPE_STRUCT_OPS, "struct_ops", check_struct_ops, create_unfilled},
    MapType{kCgrpStorage, "cgrp_storage", check_local_storage, create_unfilled},
    MapType{BPF_MAP_TYPE_USER_RINGBUF, "user_ringbuf", check_ringbuf, create_unfilled},
};

}  // namespace

std::span<const MapType> map_types() { return kMapTypes; }

const MapType* find_map_type(uint32_t type) {
  for (const MapType& row : kMapTypes)
    if (row.type == type) return &row;
  return nullptr;
}

}  // namespace xnic::vm
