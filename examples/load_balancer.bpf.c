/* A load balancer for XDP, in the manner of Katran: packets to the address of a service go to one
 * of its servers, each flow always to the same one, as IP in IP; what is for no service passes.
 *
 * services   who is balanced: address, port, protocol -> which part of the ring
 * ring       RING_SIZE slots a service, each with the index of a server: a consistent hash is made
 *            by whoever fills it, so that a server that goes moves its own flows alone
 * servers    the addresses
 * flows      where each flow went, so that it stays there when the ring changes
 * statistics what each service had
 *
 * Addresses and ports are in network byte order. IPv4; fragments and ICMP pass. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SERVICES 64
#define RING_SIZE 67 /* a prime, so that the hash spreads */
#define SERVERS 256
#define FLOWS 65536
#define TUNNEL_TTL 64
#define HAS_MORE_OR_OFFSET bpf_htons(0x3fff)

struct service_key {
  __be32 address;
  __be16 port;
  __u8 protocol;
  __u8 pad;
};

struct service {
  __u32 number; /* its part of the ring, its statistics */
};

struct server {
  __be32 address; /* 0: none */
};

struct flow_key {
  __be32 source;
  __be32 destination;
  __be16 source_port;
  __be16 destination_port;
  __u8 protocol;
  __u8 pad[3];
};

struct flow {
  __u32 server;
};

struct counts {
  __u64 packets;
  __u64 bytes;
  __u64 new_flows;
  __u64 without_server;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SERVICES);
  __type(key, struct service_key);
  __type(value, struct service);
} services SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SERVICES* RING_SIZE);
  __type(key, __u32);
  __type(value, __u32);
} ring SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SERVERS);
  __type(key, __u32);
  __type(value, struct server);
} servers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, FLOWS);
  __type(key, struct flow_key);
  __type(value, struct flow);
} flows SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, SERVICES);
  __type(key, __u32);
  __type(value, struct counts);
} statistics SEC(".maps");

/* Where the tunnel begins; of this machine. */
const volatile __be32 tunnel_source = bpf_htonl(0x0ac80001); /* 10.200.0.1 */

static __always_inline __u32 rotate(__u32 word, __u32 by) { return word << by | word >> (32 - by); }

/* Jenkins' final mix over the flow. */
static __always_inline __u32 hash_flow(const struct flow_key* flow) {
  __u32 a = 0xdeadbeef + flow->source;
  __u32 b = 0xdeadbeef + flow->destination + flow->protocol;
  __u32 c = 0xdeadbeef + ((__u32)flow->source_port << 16 | flow->destination_port);
  c ^= b, c -= rotate(b, 14);
  a ^= c, a -= rotate(c, 11);
  b ^= a, b -= rotate(a, 25);
  c ^= b, c -= rotate(b, 16);
  a ^= c, a -= rotate(c, 4);
  b ^= a, b -= rotate(a, 14);
  c ^= b, c -= rotate(b, 24);
  return c;
}

static __always_inline __u16 header_checksum(const struct iphdr* ip) {
  const __u16* words = (const __u16*)ip;
  __u32 sum = 0;
#pragma unroll
  for (int i = 0; i < (int)sizeof(*ip) / 2; i++) sum += words[i];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)~sum;
}

/* The server of the flow: where it went before, or as the ring has it. */
static __always_inline __u32 choose_server(const struct flow_key* key, __u32 service,
                                           struct counts* counts) {
  struct flow* known = bpf_map_lookup_elem(&flows, key);
  if (known) return known->server;
  __u32 slot = service * RING_SIZE + hash_flow(key) % RING_SIZE;
  __u32* server = bpf_map_lookup_elem(&ring, &slot);
  if (!server) return SERVERS;
  struct flow fresh = {.server = *server};
  bpf_map_update_elem(&flows, key, &fresh, BPF_ANY);
  counts->new_flows++;
  return fresh.server;
}

/* Puts an IP header in front of the one that is there, and the Ethernet header in front of both,
 * its addresses exchanged: the packet goes back to the router that it came from. */
static __always_inline int encapsulate(struct xdp_md* context, __be32 server, __u16 length,
                                       __u8 tos) {
  if (bpf_xdp_adjust_head(context, -(int)sizeof(struct iphdr)) != 0) return XDP_DROP;
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  struct ethhdr* ethernet = data;
  struct ethhdr* old = data + sizeof(struct iphdr);
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) > end || (void*)(old + 1) > end) return XDP_DROP;
  __u8 source[ETH_ALEN];
  __builtin_memcpy(source, old->h_source, ETH_ALEN);
  __builtin_memcpy(ethernet->h_source, old->h_dest, ETH_ALEN);
  __builtin_memcpy(ethernet->h_dest, source, ETH_ALEN);
  ethernet->h_proto = bpf_htons(ETH_P_IP);
  *ip = (struct iphdr){.version = 4,
                       .ihl = 5,
                       .tos = tos,
                       .tot_len = bpf_htons(length + sizeof(*ip)),
                       .ttl = TUNNEL_TTL,
                       .protocol = IPPROTO_IPIP,
                       .saddr = tunnel_source,
                       .daddr = server};
  ip->check = header_checksum(ip);
  return XDP_TX;
}

SEC("xdp")
int balance(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  struct ethhdr* ethernet = data;
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
  if (ip->ihl != 5 || (ip->frag_off & HAS_MORE_OR_OFFSET)) return XDP_PASS;
  if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP) return XDP_PASS;
  struct udphdr* ports = (void*)(ip + 1); /* of TCP, too, they come first */
  if ((void*)(ports + 1) > end) return XDP_PASS;

  struct service_key service_key = {
      .address = ip->daddr, .port = ports->dest, .protocol = ip->protocol};
  struct service* service = bpf_map_lookup_elem(&services, &service_key);
  if (!service) return XDP_PASS;
  __u32 number = service->number;
  struct counts* counts = bpf_map_lookup_elem(&statistics, &number);
  if (!counts) return XDP_DROP;
  __u16 length = bpf_ntohs(ip->tot_len);
  counts->packets++;
  counts->bytes += length;

  struct flow_key flow = {.source = ip->saddr,
                          .destination = ip->daddr,
                          .source_port = ports->source,
                          .destination_port = ports->dest,
                          .protocol = ip->protocol};
  __u32 index = choose_server(&flow, number, counts);
  struct server* server = bpf_map_lookup_elem(&servers, &index);
  if (!server || server->address == 0) {
    counts->without_server++;
    return XDP_DROP;
  }
  return encapsulate(context, server->address, length, ip->tos);
}

char LICENSE[] SEC("license") = "GPL";
