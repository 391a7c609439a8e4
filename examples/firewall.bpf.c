/* A firewall for XDP. It drops what comes from a blocked address or network and counts by IP
 * protocol what it lets through. IPv4 and IPv6, below up to two VLAN tags.
 *
 * Keys are addresses in network byte order. Each blocked entry counts the packets it dropped.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_VLAN_TAGS 2

struct vlan_header {
  __be16 tci;
  __be16 protocol;
};

struct network_v4 {
  __u32 prefix_length; /* bits */
  __u8 address[4];
};

struct network_v6 {
  __u32 prefix_length; /* bits */
  __u8 address[16];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __type(value, __u64);
} blocked_addresses SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct network_v4);
  __type(value, __u64);
} blocked_networks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct network_v6);
  __type(value, __u64);
} blocked_networks_v6 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u64);
} protocol_packets SEC(".maps");

static __always_inline int is_vlan(__be16 protocol) {
  return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

static __always_inline int drop_and_count(__u64* dropped) {
  __sync_fetch_and_add(dropped, 1);
  return XDP_DROP;
}

static __always_inline int pass_and_count(__u8 ip_protocol) {
  __u32 key = ip_protocol;
  __u64* packets = bpf_map_lookup_elem(&protocol_packets, &key);
  if (packets) *packets += 1;
  return XDP_PASS;
}

static __always_inline int filter_ipv4(const struct iphdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return XDP_PASS;

  __u32 source = ip->saddr;
  __u64* dropped = bpf_map_lookup_elem(&blocked_addresses, &source);
  if (dropped) return drop_and_count(dropped);

  struct network_v4 network = {.prefix_length = 32};
  __builtin_memcpy(network.address, &source, sizeof(network.address));
  dropped = bpf_map_lookup_elem(&blocked_networks, &network);
  if (dropped) return drop_and_count(dropped);

  return pass_and_count(ip->protocol);
}

static __always_inline int filter_ipv6(const struct ipv6hdr* ip, const void* end) {
  if ((const void*)(ip + 1) > end) return XDP_PASS;

  struct network_v6 network = {.prefix_length = 128};
  __builtin_memcpy(network.address, &ip->saddr, sizeof(network.address));
  __u64* dropped = bpf_map_lookup_elem(&blocked_networks_v6, &network);
  if (dropped) return drop_and_count(dropped);

  return pass_and_count(ip->nexthdr);
}

SEC("xdp")
int firewall(struct xdp_md* context) {
  const void* end = (const void*)(long)context->data_end;
  const struct ethhdr* ethernet = (const void*)(long)context->data;
  if ((const void*)(ethernet + 1) > end) return XDP_PASS;

  const void* next = ethernet + 1;
  __be16 protocol = ethernet->h_proto;
#pragma unroll
  for (int tag = 0; tag < MAX_VLAN_TAGS && is_vlan(protocol); tag++) {
    const struct vlan_header* vlan = next;
    if ((const void*)(vlan + 1) > end) return XDP_PASS;
    protocol = vlan->protocol;
    next = vlan + 1;
  }

  if (protocol == bpf_htons(ETH_P_IP)) return filter_ipv4(next, end);
  if (protocol == bpf_htons(ETH_P_IPV6)) return filter_ipv6(next, end);
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
