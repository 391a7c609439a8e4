/* Drops at random, to show what the seed is for. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int prandom(struct xdp_md* context) { return bpf_get_prandom_u32() & 1 ? XDP_DROP : XDP_PASS; }

char LICENSE[] SEC("license") = "GPL";
