/* bpf_xdp_adjust_tail: the frame shrinks and grows by amounts from its own bytes. New bytes at the
 * end are zero. */
#include "answers.h"

/* The signed 16-bit number in the first two bytes, in host order. */
SEC("xdp")
int tail_by_first_word(struct xdp_md* context) {
  void* end = (void*)(long)context->data_end;
  __s16* first = (void*)(long)context->data;
  if ((void*)(first + 1) > end) return XDP_ABORTED;
  long answer = bpf_xdp_adjust_tail(context, *first);
  note(0, answer);
  note(1, (long)context->data_end - (long)context->data);
  return answer ? XDP_DROP : XDP_PASS;
}

/* Cuts off half of what follows the Ethernet header, then grows by 32 bytes. */
SEC("xdp")
int shrink_then_grow(struct xdp_md* context) {
  __u32 length = context->data_end - context->data;
  note(0, bpf_xdp_adjust_tail(context, -(int)((length - 14) / 2)));
  note(1, bpf_xdp_adjust_tail(context, 32));
  note(2, (long)context->data_end - (long)context->data);
  return XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
