// Counts packets in maps that ask to be pinned, one of them keyless.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} packets SEC(".maps");

// The numbers of the last packets.
struct {
  __uint(type, BPF_MAP_TYPE_STACK);
  __uint(max_entries, 4);
  __type(value, __u64);
  __uint(pinning, LIBBPF_PIN_BY_NAME);
} newest SEC(".maps");

// Packets that did not find on the stack what the packet before them pushed.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} surprises SEC(".maps");

SEC("xdp")
int count(struct xdp_md* context) {
  __u32 zero = 0;
  __u64* number = bpf_map_lookup_elem(&packets, &zero);
  __u64* wrong = bpf_map_lookup_elem(&surprises, &zero);
  if (!number || !wrong) return XDP_ABORTED;
  __u64 last = 0;
  if (*number > 0 && (bpf_map_pop_elem(&newest, &last) || last != *number)) ++*wrong;
  ++*number;
  last = *number;
  bpf_map_push_elem(&newest, &last, BPF_EXIST);
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
