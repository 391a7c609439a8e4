/* What the redirecting helpers answer, and that the last one counts: maps with and without entries,
 * every flag, neighbours with and without parameters, peers. TEST_RUN carries nothing out. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u32);
} devices SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u32);
} devices_by_key SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_CPUMAP);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u32);
} cpus SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

/* The key from byte 0, so that some are out of range; the flags from byte 1, above them at bit 40
 * those that are none. */
#define THROUGH(NAME, MAP)                                                       \
  SEC("xdp")                                                                     \
  int NAME(struct xdp_md* context) {                                             \
    __u8* data = (void*)(long)context->data;                                     \
    if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED; \
    __u64 flags = data[11] & 31;                                                 \
    if (data[11] & 32) flags |= 1ull << 40;                                      \
    return bpf_redirect_map(&MAP, data[5] & 7, flags);                           \
  }

THROUGH(through_devmap, devices)
THROUGH(through_devmap_hash, devices_by_key)
THROUGH(through_cpumap, cpus)
THROUGH(through_xskmap, sockets)

SEC("xdp")
int misses(struct xdp_md* context) {
  int answer = bpf_redirect_map(&devices, 3, XDP_TX);
  answer = answer * 10 + bpf_redirect_map(&devices, 4, XDP_PASS);
  answer = answer * 10 + bpf_redirect_map(&devices_by_key, 77, XDP_DROP);
  answer = answer * 10 + bpf_redirect_map(&cpus, 3, 0);
  answer = answer * 10 + bpf_redirect_map(&devices, 3, BPF_F_BROADCAST);
  answer = answer * 10 + bpf_redirect_map(&devices, 3, BPF_F_EXCLUDE_INGRESS | XDP_PASS);
  answer = answer * 10 + bpf_redirect_map(&sockets, 1ull << 32, XDP_PASS);
  answer = answer * 10 + bpf_redirect_map(&cpus, 1, BPF_F_BROADCAST);
  return answer;
}

SEC("tc")
int to_neighbour(struct __sk_buff* skb) {
  struct bpf_redir_neigh hop = {.nh_family = 2, .ipv4_nh = 0x0100000a};
  int answer = bpf_redirect_neigh(1, 0, 0, 0);
  answer = answer * 10 + bpf_redirect_neigh(1, &hop, sizeof(hop), 0);
  answer = answer * 10 + bpf_redirect_neigh(1000, &hop, sizeof(hop), 0);
  answer = answer * 10 + bpf_redirect_neigh(1, &hop, sizeof(hop) - 4, 0);
  answer = answer * 10 + bpf_redirect_neigh(1, &hop, sizeof(hop), 1);
  return answer;
}

SEC("tc")
int to_peer(struct __sk_buff* skb) {
  return bpf_redirect_peer(1, 0) * 100 + bpf_redirect_peer(1000, 0) * 10 +
         bpf_redirect_peer(1, BPF_F_INGRESS);
}

char LICENSE[] SEC("license") = "GPL";
