/* LRU maps that overflow many times over: which keys are left is Linux's algorithm, with which
 * nothing but the order of uses on one CPU has to do. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define LRU(name, kind, size, flags)   \
  struct {                             \
    __uint(type, BPF_MAP_TYPE_##kind); \
    __uint(max_entries, size);         \
    __uint(map_flags, flags);          \
    __type(key, __u32);                \
    __type(value, __u64);              \
  } name SEC(".maps")

LRU(small, LRU_HASH, 4, 0);
LRU(common_lists, LRU_HASH, 64, 0);
LRU(own_lists, LRU_HASH, 64, BPF_F_NO_COMMON_LRU);
LRU(per_cpu, LRU_PERCPU_HASH, 40, 0);

#define VISIT(map, step)                                  \
  do {                                                    \
    __u32 key = seed * (step) + index;                    \
    __u64 first = 1;                                      \
    key = key * 2654435761u >> 25;                        \
    __u64* value = bpf_map_lookup_elem(&(map), &key);     \
    if (value)                                            \
      *value += 1;                                        \
    else                                                  \
      bpf_map_update_elem(&(map), &key, &first, BPF_ANY); \
    found += value != 0;                                  \
  } while (0)

SEC("xdp")
int overflow(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  __u32 seed = data[0] * 7 + data[5], found = 0;
  for (__u32 index = 0; index < 6; index++) {
    VISIT(small, 1);
    VISIT(common_lists, 3);
    VISIT(own_lists, 5);
    VISIT(per_cpu, 11);
  }
  if (data[1] & 1) {
    __u32 key = seed & 127;
    found += bpf_map_delete_elem(&common_lists, &key) == 0;
  }
  return found;
}

char LICENSE[] SEC("license") = "GPL";
