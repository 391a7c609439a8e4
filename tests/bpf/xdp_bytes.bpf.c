/* The bytes of an XDP packet that lie in fragments, or partly. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct answers {
  __s64 codes[16];
  __u8 bytes[64];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct answers);
} answers SEC(".maps");

static __always_inline __u32 number(struct xdp_md* context) {
  __u8 first[4] = {};
  bpf_xdp_load_bytes(context, 0, first, sizeof first);
  return first[0] | first[1] << 8;
}

static __always_inline int everywhere(struct xdp_md* context, __u32 key) {
  struct answers* found = bpf_map_lookup_elem(&answers, &key);
  if (!found) return XDP_ABORTED;
  __u32 length = bpf_xdp_get_buff_len(context);
  __u32 linear = context->data_end - context->data;
  __u32 at = number(context);
  found->codes[0] = length;
  found->codes[1] = linear;
  found->codes[2] = bpf_xdp_load_bytes(context, at, found->bytes, 8);
  found->codes[3] = bpf_xdp_load_bytes(context, linear - 4, found->bytes + 8, 8);
  found->codes[4] = bpf_xdp_load_bytes(context, linear, found->bytes + 16, 4);
  found->codes[5] = bpf_xdp_load_bytes(context, linear + 4096 - 3, found->bytes + 20, 8);
  found->codes[6] = bpf_xdp_load_bytes(context, length - 1, found->bytes + 28, 1);
  found->codes[7] = bpf_xdp_load_bytes(context, length, found->bytes + 29, 1);
  found->codes[8] = bpf_xdp_load_bytes(context, 0x10000, found->bytes + 30, 1);
  found->codes[9] = bpf_xdp_load_bytes(context, -1, found->bytes + 31, 2);
  __u8 mine[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  found->codes[10] = bpf_xdp_store_bytes(context, at, mine, 9);
  found->codes[11] = bpf_xdp_store_bytes(context, linear - 4, mine, 9);
  found->codes[12] = bpf_xdp_store_bytes(context, linear + 4096 - 3, mine, 9);
  found->codes[13] = bpf_xdp_store_bytes(context, length - 8, mine, 9);
  found->codes[14] = bpf_xdp_store_bytes(context, length - 9, mine, 9);
  return XDP_PASS;
}

SEC("xdp")
int bytes_everywhere(struct xdp_md* context) { return everywhere(context, 0); }

SEC("xdp.frags")
int bytes_everywhere_with_fragments(struct xdp_md* context) { return everywhere(context, 1); }

/* Grows to the end of the last page and no further, then shrinks across fragments. */
SEC("xdp.frags")
int tails(struct xdp_md* context) {
  __u32 key = 2;
  struct answers* found = bpf_map_lookup_elem(&answers, &key);
  if (!found) return XDP_ABORTED;
  __u32 at = number(context);
  found->codes[0] = bpf_xdp_adjust_tail(context, at & 0xfff);
  found->codes[1] = bpf_xdp_get_buff_len(context);
  found->codes[2] = bpf_xdp_adjust_tail(context, -(int)at);
  found->codes[3] = bpf_xdp_get_buff_len(context);
  found->codes[4] = bpf_xdp_adjust_tail(context, 5000);
  found->codes[5] = bpf_xdp_adjust_tail(context, 64);
  found->codes[6] = context->data_end - context->data;
  found->codes[7] = bpf_xdp_adjust_head(context, 20);
  found->codes[8] = bpf_xdp_adjust_tail(context, -(int)(bpf_xdp_get_buff_len(context) - 14));
  found->codes[9] = bpf_xdp_get_buff_len(context);
  found->codes[10] = bpf_xdp_adjust_tail(context, -1);
  return XDP_TX;
}

char LICENSE[] SEC("license") = "GPL";
