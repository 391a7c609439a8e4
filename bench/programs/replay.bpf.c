// Programs for the untimed replay and for ports: one that drops, one that looks its flow up first, and
// one that sends back.
#include "packet.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1048576);
  __type(key, struct flow);
  __type(value, __u64);
} flows SEC(".maps");

SEC("xdp")
int drop(struct xdp_md* ctx) { return XDP_DROP; }

SEC("xdp")
int look_up(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  struct flow flow = flow_of(ip);
  return bpf_map_lookup_elem(&flows, &flow) ? XDP_DROP : XDP_PASS;
}

SEC("?xdp")
int swap(struct xdp_md* ctx) {
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  if ((void*)(ethernet + 1) > (void*)(long)ctx->data_end) return XDP_ABORTED;
  unsigned char source[ETH_ALEN];
  __builtin_memcpy(source, ethernet->h_source, ETH_ALEN);
  __builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
  __builtin_memcpy(ethernet->h_dest, source, ETH_ALEN);
  return XDP_TX;
}

char _license[] SEC("license") = "GPL";
