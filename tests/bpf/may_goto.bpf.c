/* Loops that may_goto bounds, which end by themselves long before. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define can_loop                                            \
  ({                                                        \
    __label__ l_break, l_continue;                          \
    _Bool ret = 1;                                          \
    asm volatile goto("may_goto %l[l_break]" :: ::l_break); \
    goto l_continue;                                        \
  l_break:                                                  \
    ret = 0;                                                \
  l_continue:;                                              \
    ret;                                                    \
  })

SEC("xdp")
int sum_by_may_goto(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  volatile __u32 sum = 0;
  for (__u32 i = 0; i < data[0] && can_loop; i++) sum += i * data[1];
  for (__u32 i = 0; i < data[5] && can_loop; i++) sum ^= i;
  return sum & 3;
}

char _license[] SEC("license") = "GPL";
