/* Programs for every hook of several interfaces: each run of one on a test frame goes into `story`,
 * and then it does what `steps` says for its hook. A hook's number is its interface's index times
 * HOOKS and its place in `enum place`. See tests/sim/stack_kernel_test.cpp. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TEST_PROTOCOL 0x88b5 /* for local experiments */
#define HOOKS 8
#define EVENTS 1024

enum place { TC_INGRESS, TC_EGRESS, XDP, XDP_DEVMAP, XDP_CPUMAP };
enum deed { NOTHING, REDIRECT, CLONE, REDIRECT_MAP, REDIRECT_CPU, REDIRECT_PEER };

struct step {
  __u32 verdict;
  __u32 deed;   /* made before; of redirects the verdict is theirs */
  __u32 target; /* interface or key */
  __u32 flags;
  __u32 times; /* how often the deed is done */
  __u32 mark;  /* written by tc programs where not 0, with priority */
};

struct event {
  __u32 hook;
  __u32 ifindex;
  __u32 ingress_ifindex;
  __u32 length;
  __u32 mark;
  __u32 priority;
  __u32 pkt_type;
  __u32 protocol;
  __u32 wire_length;
  __u32 tc_index;
  __u32 tc_classid;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 128);
  __type(key, __u32);
  __type(value, struct step);
} steps SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, EVENTS);
  __type(key, __u32);
  __type(value, struct event);
} story SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} logged SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 8);
  __uint(key_size, 4);
  __uint(value_size, 8);
} ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_CPUMAP);
  __uint(max_entries, 2);
  __uint(key_size, 4);
  __uint(value_size, 8);
} cpus SEC(".maps");

static __always_inline void note(const struct event* event) {
  __u32 zero = 0;
  __u32* count = bpf_map_lookup_elem(&logged, &zero);
  if (!count) return;
  __u32 index = __sync_fetch_and_add(count, 1);
  bpf_map_update_elem(&story, &index, event, BPF_ANY);
}

static __always_inline struct step* step_of(__u32 hook) {
  return bpf_map_lookup_elem(&steps, &hook);
}

/* Whether the deed is still to be done. */
static __always_inline int due(struct step* step) {
  return step->deed != NOTHING && __sync_fetch_and_add(&step->times, -1) - 1 < 1 << 20;
}

static __always_inline int tc(struct __sk_buff* skb, enum place place) {
  if (skb->protocol != bpf_htons(TEST_PROTOCOL)) return TC_ACT_OK;
  struct event event = {
      .hook = skb->ifindex * HOOKS + place,
      .ifindex = skb->ifindex,
      .ingress_ifindex = skb->ingress_ifindex,
      .length = skb->len,
      .mark = skb->mark,
      .priority = skb->priority,
      .pkt_type = skb->pkt_type,
      .protocol = skb->protocol,
      .wire_length = skb->wire_len,
      .tc_index = skb->tc_index,
      .tc_classid = skb->tc_classid,
  };
  note(&event);
  struct step* step = step_of(event.hook);
  if (!step) return TC_ACT_OK;
  if (step->mark) {
    skb->mark = step->mark;
    skb->priority = step->mark;
  }
  if (!due(step)) return step->verdict;
  if (step->deed == REDIRECT) return bpf_redirect(step->target, step->flags);
  if (step->deed == REDIRECT_PEER) return bpf_redirect_peer(step->target, 0);
  if (step->deed == CLONE) bpf_clone_redirect(skb, step->target, step->flags);
  return step->verdict;
}

SEC("tc/ingress") int enter(struct __sk_buff* skb) { return tc(skb, TC_INGRESS); }
SEC("tc/egress") int leave(struct __sk_buff* skb) { return tc(skb, TC_EGRESS); }

/* Without a header of that protocol the frame is not the test's. */
static __always_inline int is_test(struct xdp_md* context) {
  struct ethhdr* header = (void*)(long)context->data;
  return (void*)(header + 1) <= (void*)(long)context->data_end &&
         header->h_proto == bpf_htons(TEST_PROTOCOL);
}

static __always_inline struct step* xdp_step(struct xdp_md* context, __u32 ifindex,
                                             enum place place) {
  struct event event = {
      .hook = ifindex * HOOKS + place,
      .ifindex = ifindex,
      .ingress_ifindex = context->ingress_ifindex,
      .length = context->data_end - context->data,
  };
  note(&event);
  return step_of(event.hook);
}

SEC("xdp") int driver(struct xdp_md* context) {
  if (!is_test(context)) return XDP_PASS;
  struct step* step = xdp_step(context, context->ingress_ifindex, XDP);
  if (!step) return XDP_PASS;
  if (!due(step)) return step->verdict;
  if (step->deed == REDIRECT) return bpf_redirect(step->target, 0);
  if (step->deed == REDIRECT_MAP) return bpf_redirect_map(&ports, step->target, step->flags);
  if (step->deed == REDIRECT_CPU) return bpf_redirect_map(&cpus, step->target, 0);
  return step->verdict;
}

SEC("xdp/devmap") int to_port(struct xdp_md* context) {
  if (!is_test(context)) return XDP_PASS;
  struct step* step = xdp_step(context, context->egress_ifindex, XDP_DEVMAP);
  return step ? step->verdict : XDP_PASS;
}

SEC("xdp/cpumap") int to_cpu(struct xdp_md* context) {
  if (!is_test(context)) return XDP_PASS;
  struct step* step = xdp_step(context, context->ingress_ifindex, XDP_CPUMAP);
  if (!step) return XDP_PASS;
  if (due(step) && step->deed == REDIRECT) return bpf_redirect(step->target, 0);
  return step->verdict;
}

char LICENSE[] SEC("license") = "GPL";
