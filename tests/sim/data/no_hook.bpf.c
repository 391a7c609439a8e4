/* A program whose section says no program type, and so not where it attaches. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("nowhere")
int lost(struct xdp_md* context) { return XDP_PASS; }

char LICENSE[] SEC("license") = "GPL";
