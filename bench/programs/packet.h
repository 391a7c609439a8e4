// What the benchmarked programs share: the frame is a 64-byte IPv4/UDP packet.
#ifndef XNIC_BENCH_PACKET_H
#define XNIC_BENCH_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

struct flow {
  __u32 source;
  __u32 destination;
  __u16 source_port;
  __u16 destination_port;
  __u32 protocol;
};

// The packet's IPv4 header with room for UDP's behind, 0 if there is none.
static ALWAYS_INLINE struct iphdr* ipv4_of(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* ethernet = data;
  struct iphdr* ip = (void*)(ethernet + 1);
  if ((void*)(ip + 1) + sizeof(struct udphdr) > end) return 0;
  if (ethernet->h_proto != bpf_htons(ETH_P_IP)) return 0;
  return ip;
}

static ALWAYS_INLINE struct flow flow_of(const struct iphdr* ip) {
  const struct udphdr* udp = (const void*)(ip + 1);
  struct flow flow = {ip->saddr, ip->daddr, udp->source, udp->dest, ip->protocol};
  return flow;
}

// Sum of 16-bit words, folded and inverted.
static ALWAYS_INLINE __u16 fold(__u64 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (__u16)~sum;
}

static ALWAYS_INLINE __u32 rotate(__u32 value, __u32 by) {
  return (value << by) | (value >> (32 - by));
}

// Bob Jenkins's mix of three words (lookup3.c, public domain).
static ALWAYS_INLINE __u32 hash_words(__u32 a, __u32 b, __u32 c, __u32 seed) {
  const __u32 start = 0xdeadbeef + (3 << 2) + seed;
  a += start;
  b += start;
  c += start;
  c ^= b;
  c -= rotate(b, 14);
  a ^= c;
  a -= rotate(c, 11);
  b ^= a;
  b -= rotate(a, 25);
  c ^= b;
  c -= rotate(b, 16);
  a ^= c;
  a -= rotate(c, 4);
  b ^= a;
  b -= rotate(a, 14);
  c ^= b;
  c -= rotate(b, 24);
  return c;
}

#endif
