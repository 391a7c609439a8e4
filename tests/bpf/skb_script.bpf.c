/* Performs a script of sk_buff helpers on the frame, so that a test can put together what one call
 * leaves for the next. User space writes the steps; each keeps the helper's answer and all that can
 * be seen of the packet behind it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define STEPS 8
#define BYTES 64

enum operation {
  NOTHING,
  CHANGE_TAIL,
  CHANGE_HEAD,
  ADJUST_ROOM,
  CHANGE_PROTO,
  CHANGE_TYPE,
  VLAN_PUSH,
  VLAN_POP,
  PULL_DATA,
  STORE_BYTES,
  LOAD_BYTES,
  LOAD_BYTES_RELATIVE,
  L3_CSUM_REPLACE,
  L4_CSUM_REPLACE,
  CSUM_UPDATE,
  CSUM_LEVEL,
  SET_HASH,
  SET_HASH_INVALID,
  ECN_SET_CE,
  SET_TSTAMP,
  CLONE_REDIRECT,
  SMALL_QUESTIONS,
};

struct step {
  __u32 operation;
  __u32 a;
  __u64 b;
  __u64 c;
  __u64 d;
  __s64 answer;
  __u32 length;
  __u32 linear;
  __u32 protocol;
  __u32 vlan;
  __u32 vlan_proto;
  __u32 type;
  __u32 gso;
  __u32 hash;
  __s64 checksum;
  __s64 checksum_level;
  __u64 tstamp;
  __u8 tstamp_type;
  __u8 at_mac[4];
  __u8 at_network[4];
  __u8 bytes[BYTES];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, STEPS);
  __type(key, __u32);
  __type(value, struct step);
} script SEC(".maps");

static __always_inline void look(struct __sk_buff* skb, struct step* step) {
  step->length = skb->len;
  step->linear = (__u32)((long)skb->data_end - (long)skb->data);
  step->protocol = skb->protocol;
  step->vlan = skb->vlan_tci | skb->vlan_present << 16;
  step->vlan_proto = skb->vlan_proto;
  step->type = skb->pkt_type;
  step->gso = skb->gso_size << 16 | skb->gso_segs;
  step->hash = skb->hash;
  step->checksum = bpf_csum_update(skb, 0);
  step->checksum_level = bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY);
  step->tstamp = skb->tstamp;
  step->tstamp_type = skb->tstamp_type;
  bpf_skb_load_bytes_relative(skb, 0, step->at_mac, 4, BPF_HDR_START_MAC);
  bpf_skb_load_bytes_relative(skb, 0, step->at_network, 4, BPF_HDR_START_NET);
}

__noinline int perform(struct __sk_buff* skb, __u32 number) {
  struct step* step = bpf_map_lookup_elem(&script, &number);
  if (!step) return 0;
  __u32 size = (step->b & (BYTES - 1)) + 1;
  switch (step->operation) {
    case CHANGE_TAIL:
      step->answer = bpf_skb_change_tail(skb, step->a, step->b);
      break;
    case CHANGE_HEAD:
      step->answer = bpf_skb_change_head(skb, step->a, step->b);
      break;
    case ADJUST_ROOM:
      step->answer = bpf_skb_adjust_room(skb, step->a, step->b, step->c);
      break;
    case CHANGE_PROTO:
      step->answer = bpf_skb_change_proto(skb, step->a, step->b);
      break;
    case CHANGE_TYPE:
      step->answer = bpf_skb_change_type(skb, step->a);
      break;
    case VLAN_PUSH:
      step->answer = bpf_skb_vlan_push(skb, step->a, step->b);
      break;
    case VLAN_POP:
      step->answer = bpf_skb_vlan_pop(skb);
      break;
    case PULL_DATA:
      step->answer = bpf_skb_pull_data(skb, step->a);
      break;
    case STORE_BYTES:
      step->answer = bpf_skb_store_bytes(skb, step->a, step->bytes, size, step->c);
      break;
    case LOAD_BYTES:
      step->answer = bpf_skb_load_bytes(skb, step->a, step->bytes, size);
      break;
    case LOAD_BYTES_RELATIVE:
      step->answer = bpf_skb_load_bytes_relative(skb, step->a, step->bytes, size, step->c);
      break;
    case L3_CSUM_REPLACE:
      step->answer = bpf_l3_csum_replace(skb, step->a, step->b, step->c, step->d);
      break;
    case L4_CSUM_REPLACE:
      step->answer = bpf_l4_csum_replace(skb, step->a, step->b, step->c, step->d);
      break;
    case CSUM_UPDATE:
      step->answer = bpf_csum_update(skb, step->a);
      break;
    case CSUM_LEVEL:
      step->answer = bpf_csum_level(skb, step->b);
      break;
    case SET_HASH:
      step->answer = bpf_set_hash(skb, step->a) + bpf_get_hash_recalc(skb);
      break;
    case SET_HASH_INVALID:
      bpf_set_hash_invalid(skb);
      step->answer = 0;
      break;
    case ECN_SET_CE:
      step->answer = bpf_skb_ecn_set_ce(skb);
      break;
    case SET_TSTAMP:
      step->answer = bpf_skb_set_tstamp(skb, step->b, step->a);
      break;
    case CLONE_REDIRECT:
      step->answer = bpf_clone_redirect(skb, step->a, step->b);
      break;
    case SMALL_QUESTIONS:
      step->answer = bpf_get_cgroup_classid(skb) | bpf_get_route_realm(skb);
      break;
    default:
      return 0;
  }
  look(skb, step);
  return 0;
}

SEC("tc")
int play_script(struct __sk_buff* skb) {
  for (__u32 number = 0; number < STEPS; ++number) perform(skb, number);
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
