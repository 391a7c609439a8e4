// Programs that use maps. Keys that are to be random step from run to run; the benchmark fills the
// maps alike on both sides: key i is i * 2654435761 (mod 2^32) of every hash.
#include "packet.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u64);
} cpu_counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __type(value, __u64);
} hash_1k SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1048576);
  __type(key, __u32);
  __type(value, __u64);
} hash_1m SEC(".maps");

struct prefix {
  __u32 length;
  __u32 address;
};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 1024);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix);
  __type(value, __u64);
} lpm_1k SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix);
  __type(value, __u64);
} lpm_100k SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __type(value, __u64);
} lru SEC(".maps");

__u32 step;

static ALWAYS_INLINE __u32 next_step(void) { return step = step * 1664525 + 1013904223; }
static ALWAYS_INLINE __u32 key_of(__u32 index) { return index * 2654435761u; }

SEC("xdp")
int array(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  __u32 key = ip->protocol;
  __u64* count = bpf_map_lookup_elem(&counters, &key);
  if (count) ++*count;
  return XDP_DROP;
}

SEC("xdp")
int percpu(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  __u32 key = ip->protocol;
  __u64* count = bpf_map_lookup_elem(&cpu_counters, &key);
  if (count) ++*count;
  return XDP_DROP;
}

static ALWAYS_INLINE int count_in(void* map, __u32 key) {
  __u64* count = bpf_map_lookup_elem(map, &key);
  if (!count) return XDP_ABORTED;
  ++*count;
  return XDP_DROP;
}

SEC("xdp")
int hash_small(struct xdp_md* ctx) { return count_in(&hash_1k, key_of(++step % 1024)); }

SEC("xdp")
int hash_hot(struct xdp_md* ctx) { return count_in(&hash_1m, key_of(++step % 256)); }

SEC("xdp")
int hash_random(struct xdp_md* ctx) { return count_in(&hash_1m, key_of(next_step() >> 12)); }

SEC("xdp")
int lpm_small(struct xdp_md* ctx) {
  struct prefix key = {32, bpf_htonl(next_step())};
  return bpf_map_lookup_elem(&lpm_1k, &key) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int lpm_large(struct xdp_md* ctx) {
  struct prefix key = {32, bpf_htonl(next_step())};
  return bpf_map_lookup_elem(&lpm_100k, &key) ? XDP_DROP : XDP_PASS;
}

// Of the same map, addresses of a few flows.
SEC("xdp")
int lpm_hot(struct xdp_md* ctx) {
  struct prefix key = {32, bpf_htonl(key_of(++step % 256))};
  return bpf_map_lookup_elem(&lpm_100k, &key) ? XDP_DROP : XDP_PASS;
}

// Every key is new, so that every update evicts.
SEC("xdp")
int lru_evict(struct xdp_md* ctx) {
  __u32 key = ++step;
  __u64 value = key;
  return bpf_map_update_elem(&lru, &key, &value, BPF_ANY) ? XDP_ABORTED : XDP_DROP;
}

struct backend {
  __u32 address;
  __u8 ethernet[6];
  __u16 weight;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, struct backend);
} backends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u64);
  __type(value, __u32);
} services SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct flow);
  __type(value, __u32);
} connections SEC(".maps");

// A balancer of connections: service by address and port, backend by connection or by hash, the
// packet sent on inside IPIP. What was put in front is taken off again, so that every run sees the
// same packet.
SEC("xdp")
int load_balancer(struct xdp_md* ctx) {
  struct iphdr* ip = ipv4_of(ctx);
  if (!ip) return XDP_PASS;
  struct flow flow = flow_of(ip);
  __u64 service = flow.destination | (__u64)flow.destination_port << 32;
  __u32* first = bpf_map_lookup_elem(&services, &service);
  if (!first) return XDP_ABORTED;
  __u32 chosen;
  __u32* known = bpf_map_lookup_elem(&connections, &flow);
  if (known) {
    chosen = *known;
  } else {
    const __u32 ports = flow.source_port | (__u32)flow.destination_port << 16;
    chosen = (*first + hash_words(flow.source, ports, flow.protocol, 7)) & 255;
    bpf_map_update_elem(&connections, &flow, &chosen, BPF_ANY);
  }
  struct backend* backend = bpf_map_lookup_elem(&backends, &chosen);
  if (!backend) return XDP_ABORTED;
  const __u16 length = bpf_ntohs(ip->tot_len);
  if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct iphdr))) return XDP_ABORTED;
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  struct ethhdr* ethernet = data;
  struct iphdr* outer = (void*)(ethernet + 1);
  struct ethhdr* old = data + sizeof(struct iphdr);
  if ((void*)(outer + 1) > end || (void*)(old + 1) > end) return XDP_ABORTED;
  __builtin_memcpy(ethernet->h_source, old->h_dest, 6);
  __builtin_memcpy(ethernet->h_dest, backend->ethernet, 6);
  ethernet->h_proto = bpf_htons(ETH_P_IP);
  outer->version = 4;
  outer->ihl = 5;
  outer->tos = 0;
  outer->tot_len = bpf_htons(length + sizeof(*outer));
  outer->id = 0;
  outer->frag_off = 0;
  outer->ttl = 64;
  outer->protocol = IPPROTO_IPIP;
  outer->check = 0;
  outer->saddr = flow.destination;
  outer->daddr = backend->address;
  __u64 sum = 0;
  const __u16* word = (const __u16*)outer;
#pragma unroll
  for (int i = 0; i < 10; ++i) sum += word[i];
  outer->check = fold(sum);
  __u8 saved[12];
  __builtin_memcpy(saved, ethernet, 12);
  if (bpf_xdp_adjust_head(ctx, sizeof(struct iphdr))) return XDP_ABORTED;
  data = (void*)(long)ctx->data;
  end = (void*)(long)ctx->data_end;
  ethernet = data;
  if ((void*)(ethernet + 1) > end) return XDP_ABORTED;
  __builtin_memcpy(ethernet, saved, 12);
  ethernet->h_proto = bpf_htons(ETH_P_IP);
  return XDP_TX;
}

char _license[] SEC("license") = "GPL";
