/* What an sk_buff has besides its bytes. */
#include "answers.h"

#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

SEC("tc")
int packet_type(struct __sk_buff* skb) {
  note(0, skb->pkt_type);
  for (__u32 type = 0; type < 8; ++type) note(1 + type, bpf_skb_change_type(skb, type));
  note(9, skb->pkt_type);
  note(10, bpf_skb_change_type(skb, -1));
  return TC_ACT_OK;
}

SEC("tc")
int hash(struct __sk_buff* skb) {
  note(11, bpf_set_hash(skb, 0x12345678));
  note(12, bpf_get_hash_recalc(skb));
  note(13, skb->hash);
  note(14, bpf_set_hash(skb, 0));
  note(15, bpf_get_hash_recalc(skb));
  bpf_set_hash_invalid(skb);
  note(16, skb->hash);
  /* The number itself is the kernel's own affair. */
  note(17, bpf_get_hash_recalc(skb) != 0);
  note(18, bpf_get_hash_recalc(skb) == skb->hash);
  __u8 byte = 0;
  bpf_skb_load_bytes(skb, 3, &byte, 1);
  note(19, bpf_skb_store_bytes(skb, 3, &byte, 1, BPF_F_INVALIDATE_HASH));
  note(20, skb->hash);
  return TC_ACT_OK;
}

SEC("tc")
int congestion(struct __sk_buff* skb) {
  note(21, bpf_skb_ecn_set_ce(skb));
  note(22, bpf_skb_ecn_set_ce(skb));
  return TC_ACT_OK;
}

SEC("tc")
int time_stamp(struct __sk_buff* skb) {
  for (__u32 clock = 0; clock < 4; ++clock) {
    note(23 + 3 * clock, bpf_skb_set_tstamp(skb, 1000 + clock, clock));
    note(24 + 3 * clock, bpf_skb_set_tstamp(skb, 0, clock));
    note(25 + 3 * clock, skb->tstamp << 8 | skb->tstamp_type);
  }
  return TC_ACT_OK;
}

/* Clones that have nowhere to go. */
SEC("tc")
int refused_clones(struct __sk_buff* skb) {
  note(40, bpf_clone_redirect(skb, 0x7fffffff, 0));
  note(41, bpf_clone_redirect(skb, 1, 2));
  note(42, bpf_clone_redirect(skb, 1, 1ULL << 32));
  note(43, bpf_clone_redirect(skb, 0, 0));
  note(44, bpf_get_cgroup_classid(skb));
  note(45, bpf_get_route_realm(skb));
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
