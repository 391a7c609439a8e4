// Programs without maps or helpers, so that the kernel's machine code can be measured by itself.
#include "packet.h"

SEC("xdp")
int drop(struct xdp_md* ctx) { return XDP_DROP; }

// Ethernet, up to two VLAN tags, IPv4 or IPv6, TCP or UDP; the destination port decides.
SEC("xdp")
int parse(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* ethernet = data;
  void* at = ethernet + 1;
  if (at > end) return XDP_ABORTED;
  __u16 protocol = ethernet->h_proto;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD)) break;
    if (at + 4 > end) return XDP_ABORTED;
    protocol = *(__u16*)(at + 2);
    at += 4;
  }
  __u8 next = 0;
  if (protocol == bpf_htons(ETH_P_IP)) {
    struct iphdr* ip = at;
    if ((void*)(ip + 1) > end) return XDP_ABORTED;
    if (ip->ihl < 5) return XDP_ABORTED;
    next = ip->protocol;
    at += ip->ihl * 4;
  } else if (protocol == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr* ip = at;
    if ((void*)(ip + 1) > end) return XDP_ABORTED;
    next = ip->nexthdr;
    at = ip + 1;
  } else {
    return XDP_PASS;
  }
  if (next == IPPROTO_TCP) {
    struct tcphdr* tcp = at;
    if ((void*)(tcp + 1) > end) return XDP_ABORTED;
    return tcp->dest == bpf_htons(80) ? XDP_DROP : XDP_PASS;
  }
  if (next == IPPROTO_UDP) {
    struct udphdr* udp = at;
    if ((void*)(udp + 1) > end) return XDP_ABORTED;
    return udp->dest == bpf_htons(53) ? XDP_DROP : XDP_PASS;
  }
  return XDP_PASS;
}

// TTL, its checksum, and the addresses of Ethernet exchanged. The TTL may run through zero: the
// packet is the same one each time.
SEC("xdp")
int forward(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  struct ethhdr* ethernet = (void*)(long)ctx->data;
  ip->ttl--;
  __u32 sum = ip->check + bpf_htons(0x0100);
  ip->check = (__u16)(sum + (sum >= 0xffff));
  __u16 words[3];
  __builtin_memcpy(words, ethernet->h_dest, 6);
  __builtin_memcpy(ethernet->h_dest, ethernet->h_source, 6);
  __builtin_memcpy(ethernet->h_source, words, 6);
  return XDP_TX;
}

// The sum of all 16-bit words of a packet of up to 1,500 bytes.
SEC("xdp")
int checksum(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  __u64 sum = 0;
  __u16* word = data;
#pragma clang loop unroll(disable)
  for (int i = 0; i < 750; ++i) {
    if ((void*)(word + 1) > end) break;
    sum += *word++;
  }
  return fold(sum) & 1 ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int jhash(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  struct flow flow = flow_of(ip);
  const __u32 ports = flow.source_port | (__u32)flow.destination_port << 16;
  const __u32 hash = hash_words(flow.source, flow.destination, ports, flow.protocol);
  return hash & 1 ? XDP_DROP : XDP_PASS;
}

static ALWAYS_INLINE __u64 rotate64(__u64 value, __u32 by) {
  return (value << by) | (value >> (64 - by));
}

#define SIP_ROUND          \
  do {                     \
    v0 += v1;              \
    v1 = rotate64(v1, 13); \
    v1 ^= v0;              \
    v0 = rotate64(v0, 32); \
    v2 += v3;              \
    v3 = rotate64(v3, 16); \
    v3 ^= v2;              \
    v0 += v3;              \
    v3 = rotate64(v3, 21); \
    v3 ^= v0;              \
    v2 += v1;              \
    v1 = rotate64(v1, 17); \
    v1 ^= v2;              \
    v2 = rotate64(v2, 32); \
  } while (0)

// SipHash-2-4 of the addresses and ports.
SEC("xdp")
int siphash(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  struct flow flow = flow_of(ip);
  __u64 v0 = 0x736f6d6570736575ull ^ 0x0706050403020100ull;
  __u64 v1 = 0x646f72616e646f6dull ^ 0x0f0e0d0c0b0a0908ull;
  __u64 v2 = 0x6c7967656e657261ull ^ 0x0706050403020100ull;
  __u64 v3 = 0x7465646279746573ull ^ 0x0f0e0d0c0b0a0908ull;
  const __u64 words[3] = {
      flow.source | (__u64)flow.destination << 32,
      flow.source_port | (__u64)flow.destination_port << 16 | (__u64)flow.protocol << 32,
      (__u64)16 << 56};
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    v3 ^= words[i];
    SIP_ROUND;
    SIP_ROUND;
    v0 ^= words[i];
  }
  v2 ^= 0xff;
  SIP_ROUND;
  SIP_ROUND;
  SIP_ROUND;
  SIP_ROUND;
  return (v0 ^ v1 ^ v2 ^ v3) & 1 ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
