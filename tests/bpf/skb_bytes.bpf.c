/* Reading and writing an sk_buff by its helpers, at offsets that the frame gives. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct answers {
  __s64 codes[16];
  __u8 bytes[32];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct answers);
} answers SEC(".maps");

static __always_inline struct answers* slot(__u32 key) {
  return bpf_map_lookup_elem(&answers, &key);
}

/* A number from the frame's first bytes: mostly small, at times negative or huge. */
static __always_inline __u32 number(struct __sk_buff* skb) {
  __u8 first[4] = {};
  bpf_skb_load_bytes(skb, 0, first, sizeof first);
  __u32 value = first[0] | first[1] << 8;
  if (first[2] & 1) value &= 0x7f;
  return first[3] % 7 ? value : -value;
}

SEC("tc")
int load_everywhere(struct __sk_buff* skb) {
  struct answers* found = slot(0);
  if (!found) return TC_ACT_SHOT;
  __u32 at = number(skb);
  found->codes[0] = bpf_skb_load_bytes(skb, at, found->bytes, 16);
  found->codes[1] = bpf_skb_load_bytes(skb, skb->len - 1, found->bytes + 16, 1);
  found->codes[2] = bpf_skb_load_bytes(skb, skb->len, found->bytes + 17, 1);
  found->codes[3] = bpf_skb_load_bytes(skb, skb->len - 3, found->bytes + 18, 4);
  found->codes[4] = bpf_skb_load_bytes(skb, 0x80000000, found->bytes + 22, 2);
  found->codes[5] = bpf_skb_load_bytes(skb, -1, found->bytes + 24, 2);
  found->codes[6] = bpf_skb_load_bytes_relative(skb, 0, found->bytes + 26, 1, BPF_HDR_START_NET);
  found->codes[7] = bpf_skb_load_bytes_relative(skb, at, found->bytes + 27, 1, BPF_HDR_START_NET);
  found->codes[8] = bpf_skb_load_bytes_relative(skb, at, found->bytes + 28, 2, BPF_HDR_START_MAC);
  found->codes[9] = bpf_skb_load_bytes_relative(skb, 0x10000, found->bytes + 30, 1, 0);
  found->codes[10] = bpf_skb_load_bytes_relative(skb, 0, found->bytes + 31, 1, 2);
  return TC_ACT_OK;
}

SEC("tc")
int store_everywhere(struct __sk_buff* skb) {
  struct answers* found = slot(1);
  if (!found) return TC_ACT_SHOT;
  __u32 at = number(skb);
  __u8 mine[8] = {0xa0, 1, 2, 3, 4, 5, 6, 0xaf};
  found->codes[0] = bpf_skb_store_bytes(skb, at, mine, sizeof mine, 0);
  found->codes[1] = bpf_skb_store_bytes(skb, skb->len - 2, mine, 2, BPF_F_RECOMPUTE_CSUM);
  found->codes[2] = bpf_skb_store_bytes(skb, skb->len - 2, mine, 3, 0);
  found->codes[3] = bpf_skb_store_bytes(skb, at, mine, 1, BPF_F_INVALIDATE_HASH);
  found->codes[4] = bpf_skb_store_bytes(skb, at, mine, 1, 4);
  found->codes[5] = bpf_skb_store_bytes(skb, 0x80000000, mine, 1, 0);
  found->codes[6] = bpf_skb_store_bytes(skb, -1, mine, 2, 0);
  found->codes[7] = bpf_skb_store_bytes(skb, 7, mine, 5, BPF_F_RECOMPUTE_CSUM);
  return TC_ACT_OK;
}

/* Pulled bytes may be read and written directly. */
SEC("tc")
int pull_and_write(struct __sk_buff* skb) {
  struct answers* found = slot(2);
  if (!found) return TC_ACT_SHOT;
  found->codes[0] = bpf_skb_pull_data(skb, number(skb));
  found->codes[1] = bpf_skb_pull_data(skb, 0);
  found->codes[2] = bpf_skb_pull_data(skb, skb->len);
  found->codes[3] = bpf_skb_pull_data(skb, skb->len + 1);
  found->codes[4] = bpf_skb_pull_data(skb, -1);
  __u8* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  found->codes[5] = (long)end - (long)data;
  if (data + 20 > (__u8*)end) return TC_ACT_SHOT;
  for (int i = 0; i < 20; ++i) data[i] ^= 0x55;
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
