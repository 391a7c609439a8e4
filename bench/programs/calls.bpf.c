// Calls of every kind: of functions, of other programs, of callbacks.
#include "packet.h"

__u32 step;
__u64 total;

static __attribute__((noinline)) int twice(int value) {
  asm volatile("" : "+r"(value));
  return value * 2;
}

// Two calls, so that what one takes is half of the difference to `drop`.
SEC("xdp")
int function_calls(struct xdp_md* ctx) { return twice(twice(XDP_DROP)) & 3 ? XDP_TX : XDP_DROP; }

SEC("xdp")
int called(struct xdp_md* ctx) { return XDP_DROP; }

SEC("xdp")
int called_too(struct xdp_md* ctx) { return XDP_TX; }

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __array(values, int(struct xdp_md*));
} programs SEC(".maps") = {
    .values = {[0] = (void*)&called, [1] = (void*)&called_too},
};

SEC("xdp")
int tail_static(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &programs, 0);
  return XDP_ABORTED;
}

// Stepping between two programs.
SEC("xdp")
int tail_dynamic(struct xdp_md* ctx) {
  bpf_tail_call(ctx, &programs, ++step & 1);
  return XDP_ABORTED;
}

static long add(__u32 index, void* context) {
  *(__u64*)context += index;
  return 0;
}

// One hundred turns.
SEC("xdp")
int loop(struct xdp_md* ctx) {
  __u64 sum = 0;
  bpf_loop(100, add, &sum, 0);
  total = sum;
  return XDP_DROP;
}

SEC("xdp")
int clock(struct xdp_md* ctx) {
  total = bpf_ktime_get_ns();
  return XDP_DROP;
}

SEC("xdp")
int adjust(struct xdp_md* ctx) {
  if (bpf_xdp_adjust_head(ctx, -4)) return XDP_ABORTED;
  return bpf_xdp_adjust_head(ctx, 4) ? XDP_ABORTED : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
