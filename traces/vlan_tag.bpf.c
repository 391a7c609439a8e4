// Tags what leaves a device with VLAN 42 and untags what arrives: what an 802.1Q interface does, on
// kernels that lack the 8021q module. Used by traces/record.sh.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("push")
int push_tag(struct __sk_buff* skb) {
  bpf_skb_vlan_push(skb, bpf_htons(0x8100), 42);
  return TC_ACT_OK;
}

SEC("pop")
int pop_tag(struct __sk_buff* skb) {
  bpf_skb_vlan_pop(skb);
  return TC_ACT_OK;
}

char license_text[] SEC("license") = "GPL";
