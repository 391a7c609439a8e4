/* Checksums kept right while packets are rewritten, and sums of differences. */
#include "answers.h"

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>

#define L3 14
#define L3_CHECKSUM (L3 + 10)
#define SOURCE (L3 + 12)
#define L4 (L3 + 20)

/* Source NAT as a firewall does it: address, then port. */
SEC("tc")
int source_nat(struct __sk_buff* skb) {
  __u32 source = 0, to = bpf_htonl(0xc0a80a01);
  __u16 port = 0, to_port = bpf_htons(40000);
  __u8 protocol = 0;
  if (skb->protocol != bpf_htons(ETH_P_IP)) return TC_ACT_OK;
  if (bpf_skb_load_bytes(skb, SOURCE, &source, 4)) return TC_ACT_OK;
  bpf_skb_load_bytes(skb, L3 + 9, &protocol, 1);
  bpf_skb_load_bytes(skb, L4, &port, 2);
  int checksum = protocol == 6 ? L4 + 16 : L4 + 6;
  int flags = protocol == 17 ? BPF_F_MARK_MANGLED_0 : 0;
  note(0, bpf_l4_csum_replace(skb, checksum, source, to, BPF_F_PSEUDO_HDR | flags | 4));
  note(1, bpf_l3_csum_replace(skb, L3_CHECKSUM, source, to, 4));
  note(2, bpf_skb_store_bytes(skb, SOURCE, &to, 4, 0));
  note(3, bpf_l4_csum_replace(skb, checksum, port, to_port, flags | 2));
  note(4, bpf_skb_store_bytes(skb, L4, &to_port, 2, 0));
  return TC_ACT_OK;
}

/* Every width and flag, at offsets and with values from the frame. */
SEC("tc")
int replace_in_every_way(struct __sk_buff* skb) {
  __u32 bytes[4] = {};
  if (bpf_skb_load_bytes(skb, 0, bytes, 16)) return TC_ACT_SHOT;
  __u32 key = 8;
  for (int i = 0; i < 16; ++i) {
    __u64 flags = (__u64)(i & 7) << 4 | (i & 8 ? BPF_F_PSEUDO_HDR : 0);
    note(key++, bpf_l4_csum_replace(skb, 20 + 2 * i, bytes[0], bytes[1], flags | 2));
    note(key++, bpf_l4_csum_replace(skb, 22 + 2 * i, bytes[1], bytes[2], flags | 4));
    note(key++, bpf_l4_csum_replace(skb, bytes[3] & 0xff, 0, bytes[2], flags));
  }
  note(5, bpf_l3_csum_replace(skb, bytes[2] & 0x1ff, bytes[0], bytes[1], 2));
  note(6, bpf_l3_csum_replace(skb, bytes[2] & 0x3e, 0, bytes[1], 0));
  note(7, bpf_l3_csum_replace(skb, 0x10000, bytes[0], bytes[1], 4));
  note(60, bpf_csum_update(skb, bytes[1]));
  note(61, bpf_csum_level(skb, BPF_CSUM_LEVEL_INC) + bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY));
  return TC_ACT_OK;
}

/* Sums have the numbers behind. */
static __always_inline void note_sum(__u32 key, __s64 value) { note(64 + key, value); }

static __always_inline void take_differences(__be32* a, __be32* b) {
  __u32 key = 0;
  note_sum(key++, bpf_csum_diff(0, 0, 0, 0, 0));
  note_sum(key++, bpf_csum_diff(0, 0, 0, 0, a[0]));
  note_sum(key++, bpf_csum_diff(0, 0, b, 32, 0));
  note_sum(key++, bpf_csum_diff(0, 0, b, 32, a[1]));
  note_sum(key++, bpf_csum_diff(a, 32, 0, 0, 0));
  note_sum(key++, bpf_csum_diff(a, 32, 0, 0, b[1]));
  note_sum(key++, bpf_csum_diff(a, 32, b, 32, 0));
  note_sum(key++, bpf_csum_diff(a, 32, b, 32, -1));
  note_sum(key++, bpf_csum_diff(a, 4, b, 28, b[3]));
  note_sum(key++, bpf_csum_diff(a, 4, a, 4, 0));
  note_sum(key++, bpf_csum_diff(a, 32, a, 32, -1));
  note_sum(key++, bpf_csum_diff(a, 2, b, 4, 0));
  note_sum(key++, bpf_csum_diff(a, 4, b, 7, 0));
  note_sum(key++, bpf_csum_diff(a, 3, b, 5, b[4]));
  note_sum(key++, bpf_csum_diff(a, 1, 0, 0, b[4]));
  note_sum(key++, bpf_csum_diff(0, 0, b, 31, b[4]));
  note_sum(key++, bpf_csum_diff(0, 0, b, 0, a[2]));
  __be32 none[8] = {}, all[8];
  __builtin_memset(all, 0xff, sizeof all);
  note_sum(key++, bpf_csum_diff(0, 0, none, 32, 0));
  note_sum(key++, bpf_csum_diff(none, 32, 0, 0, 0));
  note_sum(key++, bpf_csum_diff(0, 0, all, 32, 0));
  note_sum(key++, bpf_csum_diff(all, 32, 0, 0, 0));
  note_sum(key++, bpf_csum_diff(all, 32, none, 32, 0));
  note_sum(key++, bpf_csum_diff(none, 32, all, 32, 0));
}

/* More than the stack holds. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u8[2048]);
} long_value SEC(".maps");

static __always_inline void take_long_differences(struct __sk_buff* skb) {
  __u32 key = 0;
  __u8* value = bpf_map_lookup_elem(&long_value, &key);
  if (!value) return;
  for (int i = 0; i < 32; ++i) bpf_skb_load_bytes(skb, 3 * i, value + 64 * i, 64);
  note_sum(28, bpf_csum_diff(0, 0, (void*)value, 2048, 0));
  note_sum(29, bpf_csum_diff((void*)value, 1024, (void*)value + 1024, 1024, 7));
  note_sum(30, bpf_csum_diff((void*)value, 2047, 0, 0, 7));
}

SEC("tc")
int differences_at_tc(struct __sk_buff* skb) {
  __be32 words[16] = {};
  if (bpf_skb_load_bytes(skb, 0, words, sizeof words)) return TC_ACT_SHOT;
  take_differences(words, words + 8);
  take_long_differences(skb);
  return TC_ACT_OK;
}

/* In the packet itself, not aligned. */
SEC("xdp")
int differences_at_xdp(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if (data + 66 > (__u8*)end) return XDP_DROP;
  take_differences((void*)(data + 2), (void*)(data + 34));
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
