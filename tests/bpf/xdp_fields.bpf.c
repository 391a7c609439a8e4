/* XDP: every field of xdp_md that a program without further privileges may read. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __u32 data_length, meta_length, ingress_ifindex, rx_queue_index;
} fields;

SEC("xdp")
int read_fields(struct xdp_md* context) {
  fields.data_length = context->data_end - context->data;
  fields.meta_length = context->data - context->data_meta;
  fields.ingress_ifindex = context->ingress_ifindex;
  fields.rx_queue_index = context->rx_queue_index;
  return fields.meta_length ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
