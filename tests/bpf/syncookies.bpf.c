/* SYN cookies without a socket. The cookies themselves hang on a secret of the machine and must not
 * show: only whether one is taken as it was given, is refused once something of the connection
 * differs, and which segment size it tells. Every TCP packet is taken for a SYN. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MOST_TCP_HEADER 60

struct answers {
  __u64 made;
  __u64 short_header; /* of a header whose length is not told right */
  __u64 segment_size;
  __s64 taken;
  __s64 other_port;
  __s64 other_cookie;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct answers);
} answers SEC(".maps");

static __always_inline __s64 check(void* ip, int is_v6, struct tcphdr* tcp) {
  return is_v6 ? bpf_tcp_raw_check_syncookie_ipv6(ip, tcp)
               : bpf_tcp_raw_check_syncookie_ipv4(ip, tcp);
}

static __always_inline int answer(struct xdp_md* context, void* ip, int is_v6, __u32 offset) {
  __u32 key = is_v6;
  struct answers* to = bpf_map_lookup_elem(&answers, &key);
  char header[MOST_TCP_HEADER] = {};
  struct tcphdr* tcp = (void*)header;
  if (!to || bpf_xdp_load_bytes(context, offset, header, sizeof(*tcp))) return XDP_PASS;
  __u32 size = tcp->doff * 4;
  if (size < sizeof(*tcp) || size > MOST_TCP_HEADER) return XDP_PASS;
  if (bpf_xdp_load_bytes(context, offset, header, size)) return XDP_PASS;

  to->short_header = is_v6 ? bpf_tcp_raw_gen_syncookie_ipv6(ip, tcp, size - 1)
                           : bpf_tcp_raw_gen_syncookie_ipv4(ip, tcp, size - 1);
  __s64 cookie = is_v6 ? bpf_tcp_raw_gen_syncookie_ipv6(ip, tcp, size)
                       : bpf_tcp_raw_gen_syncookie_ipv4(ip, tcp, size);
  if (cookie < 0) {
    to->made = cookie;
    return XDP_DROP;
  }
  to->made++;
  to->segment_size += cookie >> 32;
  tcp->seq = bpf_htonl(bpf_ntohl(tcp->seq) + 1);
  tcp->ack_seq = bpf_htonl((__u32)cookie + 1);
  to->taken += check(ip, is_v6, tcp);
  tcp->source ^= 1;
  to->other_port += check(ip, is_v6, tcp);
  tcp->source ^= 1;
  tcp->ack_seq ^= bpf_htonl(1 << 20);
  to->other_cookie += check(ip, is_v6, tcp);
  return XDP_TX;
}

SEC("xdp")
int syncookies(struct xdp_md* context) {
  void* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  struct ethhdr* ethernet = data;
  if (data + sizeof(*ethernet) > end) return XDP_PASS;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    struct iphdr ip;
    if (bpf_xdp_load_bytes(context, sizeof(*ethernet), &ip, sizeof(ip))) return XDP_PASS;
    if (ip.protocol != IPPROTO_TCP || ip.ihl < 5) return XDP_PASS;
    return answer(context, &ip, 0, sizeof(*ethernet) + ip.ihl * 4);
  }
  if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr ip;
    if (bpf_xdp_load_bytes(context, sizeof(*ethernet), &ip, sizeof(ip))) return XDP_PASS;
    if (ip.nexthdr != IPPROTO_TCP) return XDP_PASS;
    return answer(context, &ip, 1, sizeof(*ethernet) + sizeof(ip));
  }
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
