#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <ostream>

// One small spec of every map type that takes elements, for tests that go through all of them.
namespace xnic::test {

struct MapKind {
  bpf_map_type type;
  const char* name;
  uint32_t key_size;
  uint32_t value_size;
  uint32_t flags = 0;
  bool per_cpu = false;
  bool holds_maps = false;
};
inline void PrintTo(const MapKind& kind, std::ostream* out) { *out << kind.name; }

inline constexpr MapKind kMapKinds[] = {
    {BPF_MAP_TYPE_HASH, "hash", 4, 8},
    {BPF_MAP_TYPE_HASH, "hash_no_prealloc", 4, 8, BPF_F_NO_PREALLOC},
    {BPF_MAP_TYPE_ARRAY, "array", 4, 8},
    {BPF_MAP_TYPE_PROG_ARRAY, "prog_array", 4, 4},
    {BPF_MAP_TYPE_PERF_EVENT_ARRAY, "perf_event_array", 4, 4},
    {BPF_MAP_TYPE_PERCPU_HASH, "percpu_hash", 4, 8, 0, true},
    {BPF_MAP_TYPE_PERCPU_ARRAY, "percpu_array", 4, 8, 0, true},
    {BPF_MAP_TYPE_LPM_TRIE, "lpm_trie", 8, 8, BPF_F_NO_PREALLOC},
    {BPF_MAP_TYPE_LRU_HASH, "lru_hash", 4, 8},
    {BPF_MAP_TYPE_LRU_PERCPU_HASH, "lru_percpu_hash", 4, 8, 0, true},
    {BPF_MAP_TYPE_QUEUE, "queue", 0, 8},
    {BPF_MAP_TYPE_STACK, "stack", 0, 8},
    {BPF_MAP_TYPE_BLOOM_FILTER, "bloom_filter", 0, 8},
    {BPF_MAP_TYPE_DEVMAP, "devmap", 4, 4},
    {BPF_MAP_TYPE_DEVMAP_HASH, "devmap_hash", 4, 4},
    {BPF_MAP_TYPE_CPUMAP, "cpumap", 4, 4},
    {BPF_MAP_TYPE_XSKMAP, "xskmap", 4, 4},
    {BPF_MAP_TYPE_ARRAY_OF_MAPS, "array_of_maps", 4, 4, 0, false, true},
    {BPF_MAP_TYPE_HASH_OF_MAPS, "hash_of_maps", 4, 4, 0, false, true},
    {BPF_MAP_TYPE_RINGBUF, "ringbuf", 0, 0},
};

}  // namespace xnic::test
