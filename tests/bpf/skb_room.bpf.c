/* Room for headers: tunnels put on and taken off, IPv4 and IPv6 made of each other. */
#include "answers.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>

/* Newer than the header. */
#define DECAP_IPV4 (1ULL << 7)
#define DECAP_IPV6 (1ULL << 8)

static __always_inline void look(struct __sk_buff* skb, __u32 key) {
  note(key, (__u64)skb->protocol << 32 | skb->len);
}

/* The signed 16-bit number in the first two bytes; where the third is odd, only its low bits. */
SEC("tc")
int room_by_first_word(struct __sk_buff* skb) {
  __u8 first[4] = {};
  bpf_skb_load_bytes(skb, 0, first, sizeof first);
  __s32 amount = (__s16)(first[0] | first[1] << 8);
  if (first[2] & 1) amount = (amount & 127) - 64;
  note(0, bpf_skb_adjust_room(skb, amount, first[3] & 1, 0));
  look(skb, 1);
  note(2, bpf_skb_adjust_room(skb, -amount, first[3] & 1, BPF_F_ADJ_ROOM_FIXED_GSO));
  look(skb, 3);
  note(4, bpf_skb_adjust_room(skb, 4096, BPF_ADJ_ROOM_NET, 0));
  note(5, bpf_skb_adjust_room(skb, 4095, 2, 0));
  note(6, bpf_skb_adjust_room(skb, 8, BPF_ADJ_ROOM_MAC, 1ULL << 20));
  note(7, bpf_skb_adjust_room(skb, 8, BPF_ADJ_ROOM_MAC, DECAP_IPV4));
  note(8, bpf_skb_adjust_room(skb, -8, BPF_ADJ_ROOM_MAC, DECAP_IPV4 | DECAP_IPV6));
  return TC_ACT_OK;
}

static __always_inline int encapsulate(struct __sk_buff* skb, __u32 key, __u32 size, __u64 flags) {
  note(key, bpf_skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, flags));
  look(skb, key + 1);
  /* A second tunnel around it, and what a tunnel forbids. */
  note(key + 2, bpf_skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, flags));
  note(key + 3, bpf_skb_change_tail(skb, skb->len, 0));
  return TC_ACT_OK;
}

SEC("tc")
int ipip(struct __sk_buff* skb) { return encapsulate(skb, 10, 20, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4); }

SEC("tc")
int ip6_gre(struct __sk_buff* skb) {
  return encapsulate(skb, 14, 44, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE);
}

SEC("tc")
int vxlan(struct __sk_buff* skb) {
  return encapsulate(skb, 18, 50,
                     BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |
                         BPF_F_ADJ_ROOM_ENCAP_L2(14) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH);
}

SEC("tc")
int odd_tunnels(struct __sk_buff* skb) {
  __u64 v4 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, v6 = BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
  note(22, bpf_skb_adjust_room(skb, 20, BPF_ADJ_ROOM_MAC, v4 | v6));
  note(23, bpf_skb_adjust_room(skb, 20, BPF_ADJ_ROOM_MAC,
                               v4 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE | BPF_F_ADJ_ROOM_ENCAP_L4_UDP));
  note(24, bpf_skb_adjust_room(skb, 20, BPF_ADJ_ROOM_MAC,
                               v4 | BPF_F_ADJ_ROOM_ENCAP_L2(13) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH));
  note(25, bpf_skb_adjust_room(skb, 20, BPF_ADJ_ROOM_MAC, v4 | BPF_F_ADJ_ROOM_ENCAP_L2(21)));
  note(26, bpf_skb_adjust_room(skb, -4, BPF_ADJ_ROOM_MAC, v4));
  note(27, bpf_skb_adjust_room(skb, -4, BPF_ADJ_ROOM_NET, BPF_F_ADJ_ROOM_NO_CSUM_RESET));
  look(skb, 28);
  return TC_ACT_OK;
}

/* As for a tunnel that ends here: its header goes, the inner one may be of the other kind. */
SEC("tc")
int decapsulate(struct __sk_buff* skb) {
  note(30, bpf_skb_adjust_room(skb, -20, BPF_ADJ_ROOM_MAC, DECAP_IPV6));
  look(skb, 31);
  note(32, bpf_skb_adjust_room(skb, -20, BPF_ADJ_ROOM_MAC, DECAP_IPV4));
  look(skb, 33);
  return TC_ACT_OK;
}

SEC("tc")
int translate_and_back(struct __sk_buff* skb) {
  note(40, bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0));
  look(skb, 41);
  note(42, bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0));
  look(skb, 43);
  note(44, bpf_skb_change_proto(skb, bpf_htons(ETH_P_ARP), 0));
  note(45, bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 1));
  note(46, bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0));
  look(skb, 47);
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
