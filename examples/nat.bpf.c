/* A stateful firewall with address translation, for tc: what leaves gets the machine's public
 * address and a port of its own, and opens the way for the answers; what comes in and answers
 * nothing is dropped.
 *
 * outgoing   what leaves: flow -> public port, packets, state
 * incoming   public port and peer -> the flow that it answers
 * open_ports services that may be reached from outside without having asked
 * statistics by what happened
 *
 * IPv4, TCP and UDP; other IP protocols are dropped, what is not IP passes. Addresses and ports are
 * in network byte order. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define CONNECTIONS 16384
#define FIRST_PORT 32768
#define PORTS 16384
#define TRIES 8 /* ports that are tried before a packet is dropped */
#define HAS_MORE_OR_OFFSET bpf_htons(0x3fff)

enum event { OUT_NEW, OUT_KNOWN, OUT_NO_PORT, IN_ANSWER, IN_OPEN_PORT, IN_UNASKED, CLOSED, EVENTS };
enum state { OPENING, ESTABLISHED, CLOSING };

struct flow {
  __be32 inside;
  __be32 peer;
  __be16 inside_port;
  __be16 peer_port;
  __u32 protocol;
};

struct connection {
  __u64 packets_out;
  __u64 packets_in;
  __be16 public_port;
  __u16 state;
  __u32 pad;
};

struct answer {
  __be32 peer;
  __be16 peer_port;
  __be16 public_port;
  __u32 protocol;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, CONNECTIONS);
  __type(key, struct flow);
  __type(value, struct connection);
} outgoing SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, CONNECTIONS);
  __type(key, struct answer);
  __type(value, struct flow);
} incoming SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32); /* as the packet has it, in the low half */
  __type(value, __u32);
} open_ports SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, EVENTS);
  __type(key, __u32);
  __type(value, __u64);
} statistics SEC(".maps");

const volatile __be32 public_address = bpf_htonl(0xc6336401); /* 198.51.100.1 */

/* Pointers into a packet that has been found to be TCP or UDP over IPv4. */
struct headers {
  struct iphdr* ip;
  struct udphdr* ports; /* of TCP, too, they come first */
  struct tcphdr* tcp;   /* null for UDP */
};

static __always_inline void count(__u32 event) {
  __u64* slot = bpf_map_lookup_elem(&statistics, &event);
  if (slot) *slot += 1;
}

/* 1 for what can be translated, 0 for what is not IP, -1 for the rest. */
static __always_inline int parse(struct __sk_buff* skb, struct headers* headers) {
  void* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  struct ethhdr* ethernet = data;
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)ip > end) return -1;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP)) return 0;
  if ((void*)(ip + 1) > end || ip->ihl != 5 || (ip->frag_off & HAS_MORE_OR_OFFSET)) return -1;
  headers->ip = ip;
  headers->ports = (void*)(ip + 1);
  headers->tcp = 0;
  if ((void*)(headers->ports + 1) > end) return -1;
  if (ip->protocol == IPPROTO_UDP) return 1;
  if (ip->protocol != IPPROTO_TCP) return -1;
  headers->tcp = (void*)headers->ports;
  return (void*)(headers->tcp + 1) > end ? -1 : 1;
}

/* RFC 1624: the checksum after a 16-bit word has changed. */
static __always_inline __u16 adjust(__u16 checksum, __u16 from, __u16 to) {
  __u32 sum = (__u16)~checksum + (__u32)(__u16)~from + to;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)~sum;
}

static __always_inline __u16 adjust_address(__u16 checksum, __be32 from, __be32 to) {
  checksum = adjust(checksum, from & 0xffff, to & 0xffff);
  return adjust(checksum, from >> 16, to >> 16);
}

/* Both checksums for an address and a port that change. UDP may have none, which is 0. */
static __always_inline void fix_checksums(struct headers* h, __be32 from, __be32 to,
                                          __be16 from_port, __be16 to_port) {
  h->ip->check = adjust_address(h->ip->check, from, to);
  __u16* checksum = h->tcp ? &h->tcp->check : &h->ports->check;
  if (!h->tcp && *checksum == 0) return;
  __u16 fixed = adjust(adjust_address(*checksum, from, to), from_port, to_port);
  *checksum = !h->tcp && fixed == 0 ? 0xffff : fixed;
}

/* What TCP's flags say of a connection. */
static __always_inline __u16 next_state(__u16 state, const struct headers* h, int inwards) {
  if (!h->tcp) return inwards ? ESTABLISHED : state;
  if (h->tcp->rst || h->tcp->fin) return CLOSING;
  return inwards && state == OPENING ? ESTABLISHED : state;
}

/* A public port that no other flow to this peer has: the flow's own hash, and those behind it. */
static __always_inline int find_port(const struct flow* flow, struct answer* answer) {
  __u32 hash = flow->inside * 0x9e3779b1u ^ flow->peer * 0x85ebca6bu;
  hash ^= ((__u32)flow->inside_port << 16 | flow->peer_port) * 0xc2b2ae35u;
  hash ^= hash >> 15;
  answer->peer = flow->peer;
  answer->peer_port = flow->peer_port;
  answer->protocol = flow->protocol;
  for (__u32 i = 0; i < TRIES; i++) {
    answer->public_port = bpf_htons(FIRST_PORT + (hash + i) % PORTS);
    if (bpf_map_update_elem(&incoming, answer, flow, BPF_NOEXIST) == 0) return 0;
  }
  return -1;
}

SEC("tc/egress")
int leave(struct __sk_buff* skb) {
  struct headers h = {};
  int parsed = parse(skb, &h);
  if (parsed <= 0) return parsed == 0 ? TC_ACT_OK : TC_ACT_SHOT;
  struct flow flow = {.inside = h.ip->saddr,
                      .peer = h.ip->daddr,
                      .inside_port = h.ports->source,
                      .peer_port = h.ports->dest,
                      .protocol = h.ip->protocol};
  struct connection* known = bpf_map_lookup_elem(&outgoing, &flow);
  if (!known) {
    struct answer answer = {};
    if (find_port(&flow, &answer) != 0) {
      count(OUT_NO_PORT);
      return TC_ACT_SHOT;
    }
    struct connection fresh = {.public_port = answer.public_port};
    bpf_map_update_elem(&outgoing, &flow, &fresh, BPF_ANY);
    known = bpf_map_lookup_elem(&outgoing, &flow);
    if (!known) return TC_ACT_SHOT;
    count(OUT_NEW);
  } else {
    count(OUT_KNOWN);
  }
  known->packets_out++;
  known->state = next_state(known->state, &h, 0);
  __be16 port = known->public_port;
  fix_checksums(&h, flow.inside, public_address, flow.inside_port, port);
  h.ip->saddr = public_address;
  h.ports->source = port;
  return TC_ACT_OK;
}

SEC("tc/ingress")
int enter(struct __sk_buff* skb) {
  struct headers h = {};
  int parsed = parse(skb, &h);
  if (parsed <= 0) return parsed == 0 ? TC_ACT_OK : TC_ACT_SHOT;
  struct answer answer = {.peer = h.ip->saddr,
                          .peer_port = h.ports->source,
                          .public_port = h.ports->dest,
                          .protocol = h.ip->protocol};
  struct flow* flow = bpf_map_lookup_elem(&incoming, &answer);
  if (!flow) {
    __u32 port = h.ports->dest;
    if (bpf_map_lookup_elem(&open_ports, &port)) {
      count(IN_OPEN_PORT);
      return TC_ACT_OK;
    }
    count(IN_UNASKED);
    return TC_ACT_SHOT;
  }
  struct flow inside = *flow;
  struct connection* known = bpf_map_lookup_elem(&outgoing, &inside);
  if (!known) return TC_ACT_SHOT;
  known->packets_in++;
  known->state = next_state(known->state, &h, 1);
  count(IN_ANSWER);
  int reset = h.tcp && h.tcp->rst;
  fix_checksums(&h, h.ip->daddr, inside.inside, h.ports->dest, inside.inside_port);
  h.ip->daddr = inside.inside;
  h.ports->dest = inside.inside_port;
  if (reset) {
    bpf_map_delete_elem(&outgoing, &inside);
    bpf_map_delete_elem(&incoming, &answer);
    count(CLOSED);
  }
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
