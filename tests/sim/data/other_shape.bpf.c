/* A map that has the name of the example firewall's, and other keys. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u64);
  __type(value, __u64);
} blocked_addresses SEC(".maps");

SEC("xdp") int look(struct xdp_md* context) {
  __u64 key = context->rx_queue_index;
  return bpf_map_lookup_elem(&blocked_addresses, &key) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
