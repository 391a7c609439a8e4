/* A BPF object that holds a map and no program. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, 1);
} alone SEC(".maps");

char LICENSE[] SEC("license") = "GPL";
