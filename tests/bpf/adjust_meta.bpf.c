/* bpf_xdp_adjust_meta: the room grows by an amount from the frame, is written and read back, and
 * shrinks again; unaligned and too large amounts are refused. */
#include "answers.h"

SEC("xdp")
int meta_by_first_byte(struct xdp_md* context) {
  void* end = (void*)(long)context->data_end;
  __u8* first = (void*)(long)context->data;
  if ((void*)(first + 1) > end) return XDP_ABORTED;
  long answer = bpf_xdp_adjust_meta(context, -(int)*first);
  note(0, answer);
  note(1, (long)context->data - (long)context->data_meta);
  return answer ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int write_and_read_meta(struct xdp_md* context) {
  if (bpf_xdp_adjust_meta(context, -8)) return XDP_ABORTED;
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  __u32* meta = (void*)(long)context->data_meta;
  __u8* bytes = data;
  if ((void*)(meta + 2) > data || (void*)(bytes + 14) > end) return XDP_ABORTED;
  meta[0] = bytes[0] << 8 | bytes[5];
  meta[1] = bytes[12] << 8 | bytes[13];

  long shrink = bpf_xdp_adjust_meta(context, 4);
  data = (void*)(long)context->data;
  end = (void*)(long)context->data_end;
  meta = (void*)(long)context->data_meta;
  bytes = data;
  if (shrink || (void*)(meta + 1) > data || (void*)(bytes + 4) > end) return XDP_ABORTED;
  *(__u32*)bytes = *meta;
  note(2, *meta);
  note(3, (long)data - (long)context->data_meta);
  return *meta == 0x0800 ? XDP_PASS : XDP_TX;
}

/* Metadata moves with the head: what was written is still there after the head has moved. */
SEC("xdp")
int meta_survives_adjust_head(struct xdp_md* context) {
  if (bpf_xdp_adjust_meta(context, -4)) return XDP_ABORTED;
  void* data = (void*)(long)context->data;
  __u32* meta = (void*)(long)context->data_meta;
  if ((void*)(meta + 1) > data) return XDP_ABORTED;
  *meta = 0x600df00d;
  note(0, bpf_xdp_adjust_head(context, -8));
  data = (void*)(long)context->data;
  meta = (void*)(long)context->data_meta;
  if ((void*)(meta + 1) > data) return XDP_DROP;
  note(1, *meta);
  note(2, (long)context->data_end - (long)context->data);
  __u32* word = data;
  if ((void*)(word + 2) > (void*)(long)context->data_end) return XDP_ABORTED;
  word[0] = *meta;
  word[1] = 0;
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
