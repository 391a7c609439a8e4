/* bpf_xdp_adjust_head both ways. The amount comes from the first byte of the frame, read as a
 * signed number, so that a set of packets covers the range and both its ends; the answer of the
 * helper is left in the map and, where there is room, in the first bytes of the new frame. */
#include "answers.h"

SEC("xdp")
int adjust_by_first_byte(struct xdp_md* context) {
  void* end = (void*)(long)context->data_end;
  signed char* first = (void*)(long)context->data;
  if ((void*)(first + 1) > end) return XDP_ABORTED;
  int delta = *first * 2;
  long answer = bpf_xdp_adjust_head(context, delta);
  note(0, answer);
  note(1, (long)context->data_end - (long)context->data);
  note(2, (long)context->data - (long)context->data_meta);

  end = (void*)(long)context->data_end;
  __u32* word = (void*)(long)context->data;
  if ((void*)(word + 1) > end) return XDP_ABORTED;
  *word = (__u32)answer ^ 0x5a5a5a5a;
  return answer ? XDP_DROP : XDP_PASS;
}

/* Pushes an outer Ethernet header in front of the frame, as an encapsulation does. */
SEC("xdp")
int push_header(struct xdp_md* context) {
  if (bpf_xdp_adjust_head(context, -14)) return XDP_ABORTED;
  __u8* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if ((void*)(data + 28) > end) return XDP_ABORTED;
  for (int i = 0; i < 12; i++) data[i] = data[14 + i] ^ 0xff;
  data[12] = 0x88;
  data[13] = 0xb5;
  return XDP_TX;
}

/* Takes the outer 14 bytes off again. */
SEC("xdp")
int pull_header(struct xdp_md* context) {
  if (bpf_xdp_adjust_head(context, 14)) return XDP_DROP;
  __u8* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if ((void*)(data + 1) > end) return XDP_ABORTED;
  return data[0] & 1 ? XDP_TX : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
