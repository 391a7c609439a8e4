/* bpf_throw out of functions; what is returned then. */
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

SEC("xdp")
int thrown(struct xdp_md* xdp) {
  __u8 first = first_byte(xdp);
  note(0, first);
  int result = deep(first);
  note(1, result);
  return result;
}
