/* Loads in Linux, too, but takes more instructions than a run may have: for frames of 251 bytes. All
 * others pass. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

static long turn(__u32 index, void* context) {
  volatile __u64* sum = context;
#pragma clang loop unroll(disable)
  for (int i = 0; i < 4; ++i) *sum += index;
  return 0;
}

SEC("xdp")
int runs_too_long(struct xdp_md* context) {
  __u64 sum = 0;
  if (context->data_end - context->data == 251) bpf_loop(1 << 23, turn, &sum, 0);
  return sum == 1 ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
