/* bpf_throw out of functions and helpers' callbacks; what is returned then. */
#include "answers.h"

extern void bpf_throw(__u64 cookie) __attribute__((weak)) __ksym;

char _license[] SEC("license") = "GPL";

static __always_inline __u8 first_byte(struct xdp_md* xdp) {
  __u8* data = (__u8*)(long)xdp->data;
  return data + 1 <= (__u8*)(long)xdp->data_end ? data[0] : 0;
}

__attribute__((noinline)) static int deeper(__u64 what) {
  volatile __u64 kept = what;
  if (what & 1) bpf_throw(kept);
  return kept + 1;
}

__attribute__((noinline)) static int deep(__u64 what) {
  volatile __u64 kept = what;
  return deeper(kept) + 1;
}

static int turn(__u32 index, void* context) {
  note(10, index);
  if (index == *(__u64*)context) bpf_throw(index + 100);
  return 0;
}

SEC("xdp")
int thrown(struct xdp_md* xdp) {
  __u8 first = first_byte(xdp);
  note(0, first);
  int result = deep(first);
  note(1, result);
  return result;
}

SEC("xdp")
int thrown_in_a_loop(struct xdp_md* xdp) {
  __u64 last = first_byte(xdp) & 7;
  note(2, bpf_loop(4, turn, &last, 0));
  return XDP_PASS;
}
