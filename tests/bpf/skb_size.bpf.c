/* The ends of an sk_buff moved by amounts from the frame, and VLAN tags. */
#include "answers.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>

#define MAX_LENGTH 16064

static __always_inline __u32 number(struct __sk_buff* skb) {
  __u8 first[2] = {};
  bpf_skb_load_bytes(skb, 0, first, sizeof first);
  return first[0] | first[1] << 8;
}

static __always_inline void look(struct __sk_buff* skb, __u32 key) {
  note(key, skb->len);
  note(key + 1, (long)skb->data_end - (long)skb->data);
}

SEC("tc")
int change_tail(struct __sk_buff* skb) {
  __u32 wanted = number(skb);
  note(0, bpf_skb_change_tail(skb, wanted, 0));
  look(skb, 1);
  note(3, bpf_skb_change_tail(skb, skb->len, 1));
  note(4, bpf_skb_change_tail(skb, MAX_LENGTH + 1, 0));
  note(5, bpf_skb_change_tail(skb, 13, 0));
  note(6, bpf_skb_change_tail(skb, -1, 0));
  note(7, bpf_skb_change_tail(skb, skb->len + 40, 0));
  look(skb, 8);
  return TC_ACT_OK;
}

/* What was cut off is zero when it comes back. */
SEC("tc")
int cut_and_regrow(struct __sk_buff* skb) {
  __u32 length = skb->len;
  note(10, bpf_skb_change_tail(skb, 14 + (length - 14) / 2, 0));
  note(11, bpf_skb_change_tail(skb, length + 7, 0));
  note(12, bpf_skb_change_tail(skb, MAX_LENGTH, 0));
  look(skb, 13);
  note(15, bpf_skb_change_tail(skb, length, 0));
  return TC_ACT_OK;
}

SEC("tc")
int change_head(struct __sk_buff* skb) {
  __u32 wanted = number(skb);
  note(20, bpf_skb_change_head(skb, wanted, 0));
  look(skb, 21);
  note(23, bpf_skb_change_head(skb, 1, 1));
  note(24, bpf_skb_change_head(skb, MAX_LENGTH, 0));
  note(25, bpf_skb_change_head(skb, -1, 0));
  note(26, bpf_skb_change_head(skb, 14, 0));
  look(skb, 27);
  __u8* data = (void*)(long)skb->data;
  if (data + 14 > (__u8*)(long)skb->data_end) return TC_ACT_SHOT;
  for (int i = 0; i < 14; ++i) data[i] += i;
  return TC_ACT_OK;
}

SEC("tc")
int vlan_pop(struct __sk_buff* skb) {
  note(30, bpf_skb_vlan_pop(skb));
  note(31, (__u64)skb->vlan_present << 32 | skb->vlan_tci);
  note(32, (__u64)skb->protocol << 32 | skb->vlan_proto);
  look(skb, 33);
  return TC_ACT_OK;
}

SEC("tc")
int vlan_push_three_and_pop_one(struct __sk_buff* skb) {
  __u32 tci = number(skb);
  note(40, bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), tci));
  note(41, (__u64)skb->vlan_present << 32 | skb->vlan_tci);
  look(skb, 42);
  note(44, bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021AD), tci + 1));
  note(45, (__u64)skb->protocol << 32 | skb->vlan_proto);
  look(skb, 46);
  note(48, bpf_skb_vlan_push(skb, bpf_htons(ETH_P_IP), tci + 2));
  note(49, (__u64)skb->protocol << 32 | skb->vlan_proto);
  note(50, bpf_skb_vlan_pop(skb));
  note(51, (__u64)skb->vlan_present << 32 | skb->vlan_tci);
  note(52, (__u64)skb->protocol << 32 | skb->vlan_proto);
  look(skb, 53);
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
