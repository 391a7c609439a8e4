/* A classifier for tc. It sorts packets into classes by their DSCP (RFC 2474, RFC 4594) and, where
 * the sender set none, by well-known ports; the class becomes the packet's mark and priority.
 * Telnet is dropped. IPv4 and IPv6; the first fragment alone has ports.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum class_id {
  CLASS_BEST_EFFORT,
  CLASS_INTERACTIVE, /* DNS, SSH, and what asks for low delay */
  CLASS_WEB,
  CLASS_BULK,
  CLASS_CONTROL, /* network control, ICMP */
  CLASS_DROPPED,
  CLASSES,
};

/* Marks start here, so that a mark of 0 still means that no program has looked. */
#define MARK_BASE 0x100

struct class_statistics {
  __u64 packets;
  __u64 bytes;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, CLASSES);
  __type(key, __u32);
  __type(value, struct class_statistics);
} classes SEC(".maps");

struct ports {
  __be16 source;
  __be16 destination;
};

static __always_inline int port_class(__u16 port) {
  switch (port) {
    case 22:
    case 53:
      return CLASS_INTERACTIVE;
    case 23:
      return CLASS_DROPPED;
    case 80:
    case 443:
    case 8080:
      return CLASS_WEB;
    case 5001:
    case 5201:
    case 9000:
      return CLASS_BULK;
    default:
      return CLASS_BEST_EFFORT;
  }
}

static __always_inline int dscp_class(__u8 dscp) {
  if (dscp >= 48) return CLASS_CONTROL;     /* CS6, CS7 */
  if (dscp >= 32) return CLASS_INTERACTIVE; /* CS4, AF4x, CS5, EF */
  if (dscp == 8) return CLASS_BULK;         /* CS1 */
  return CLASS_BEST_EFFORT;
}

static __always_inline int transport_class(__u8 protocol, const void* transport, const void* end) {
  if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) return CLASS_CONTROL;
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return CLASS_BEST_EFFORT;
  const struct ports* ports = transport;
  if ((const void*)(ports + 1) > end) return CLASS_BEST_EFFORT;
  int found = port_class(bpf_ntohs(ports->destination));
  return found != CLASS_BEST_EFFORT ? found : port_class(bpf_ntohs(ports->source));
}

static __always_inline int ipv4_class(const struct iphdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return CLASS_BEST_EFFORT;
  int found = dscp_class(ip->tos >> 2);
  if (found != CLASS_BEST_EFFORT) return found;
  if (ip->frag_off & bpf_htons(0x1fff)) return CLASS_BEST_EFFORT;
  return transport_class(ip->protocol, (const void*)ip + ip->ihl * 4, end);
}

static __always_inline int ipv6_class(const struct ipv6hdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return CLASS_BEST_EFFORT;
  int found = dscp_class((ip->priority << 2) | (ip->flow_lbl[0] >> 6));
  if (found != CLASS_BEST_EFFORT) return found;
  return transport_class(ip->nexthdr, ip + 1, end);
}

SEC("tc")
int mark(struct __sk_buff* skb) {
  const void* end = (const void*)(long)skb->data_end;
  const struct ethhdr* ethernet = (const void*)(long)skb->data;
  if ((const void*)(ethernet + 1) > end) return TC_ACT_OK;

  __u32 class = CLASS_BEST_EFFORT;
  if (skb->protocol == bpf_htons(ETH_P_IP)) class = ipv4_class((const void*)(ethernet + 1), end);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) class = ipv6_class((const void*)(ethernet + 1), end);

  struct class_statistics* statistics = bpf_map_lookup_elem(&classes, &class);
  if (statistics) {
    __sync_fetch_and_add(&statistics->packets, 1);
    __sync_fetch_and_add(&statistics->bytes, skb->len);
  }
  if (class == CLASS_DROPPED) return TC_ACT_SHOT;

  skb->mark = MARK_BASE + class;
  skb->priority = class;
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
