/* tc: every field of __sk_buff that may be read is copied out, those that may be written are
 * written and read again, and narrow reads are compared with whole ones. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

struct fields {
  __u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
  __u32 ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, napi_id;
  __u32 data_length, meta_length, wire_len, gso_segs, gso_size;
  __u64 tstamp;
};

struct fields before;
struct fields after;
struct {
  __u32 len_low, len_byte1, mark_high, protocol_low, protocol_high, hash_low;
} narrow;

static __always_inline void copy(struct fields* to, struct __sk_buff* skb) {
  to->len = skb->len;
  to->pkt_type = skb->pkt_type;
  to->mark = skb->mark;
  to->queue_mapping = skb->queue_mapping;
  to->protocol = skb->protocol;
  to->vlan_present = skb->vlan_present;
  to->vlan_tci = skb->vlan_tci;
  to->vlan_proto = skb->vlan_proto;
  to->priority = skb->priority;
  to->ingress_ifindex = skb->ingress_ifindex;
  to->ifindex = skb->ifindex;
  to->tc_index = skb->tc_index;
  for (int i = 0; i < 5; i++) to->cb[i] = skb->cb[i];
  to->hash = skb->hash;
  to->tc_classid = skb->tc_classid;
  to->napi_id = skb->napi_id;
  to->data_length = skb->data_end - skb->data;
  to->meta_length = skb->data - skb->data_meta;
  to->wire_len = skb->wire_len;
  to->gso_segs = skb->gso_segs;
  to->gso_size = skb->gso_size;
  to->tstamp = skb->tstamp;
}

SEC("tc")
int read_fields(struct __sk_buff* skb) {
  copy(&before, skb);
  return skb->protocol ? TC_ACT_OK : TC_ACT_SHOT;
}

SEC("tc")
int write_fields(struct __sk_buff* skb) {
  copy(&before, skb);
  skb->mark = before.mark + before.len * 0x10001;
  skb->priority = before.priority ^ 0x80000007;
  skb->queue_mapping = before.len & 0xff;
  skb->tc_index = before.len + 0x12340000;
  for (int i = 0; i < 5; i++) skb->cb[i] = before.cb[i] + before.len * (i + 1);
  skb->tc_classid = before.len;
  skb->tstamp = 0x123456789abcdefull + before.len;
  copy(&after, skb);
  return skb->mark & 1 ? TC_ACT_OK : TC_ACT_PIPE;
}

SEC("tc")
int read_narrow(struct __sk_buff* skb) {
  skb->mark = skb->len * 0x01010101;
  narrow.len_low = *(volatile __u16*)&skb->len;
  narrow.len_byte1 = *((volatile __u8*)&skb->len + 1);
  narrow.mark_high = *((volatile __u16*)&skb->mark + 1);
  narrow.protocol_low = *(volatile __u8*)&skb->protocol;
  narrow.protocol_high = *((volatile __u8*)&skb->protocol + 1);
  narrow.hash_low = *(volatile __u16*)&skb->hash;
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
