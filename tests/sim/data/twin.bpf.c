/* Built twice, with TWIN 0 and 1: programs that differ between the two where their name says, and
 * programs that Linux itself lets differ. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} stamps SEC(".maps");

SEC("xdp")
int same(struct xdp_md* context) { return XDP_PASS; }

SEC("xdp")
int answer(struct xdp_md* context) { return XDP_PASS + TWIN; }

SEC("xdp")
int bytes(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_DROP;
  data[3] = 0x10 + TWIN;
  return XDP_PASS;
}

SEC("tc")
int count(struct __sk_buff* context) {
  __u32 key = 1;
  __u64* value = bpf_map_lookup_elem(&counts, &key);
  if (value) *value += 1 + TWIN;
  return 0;
}

SEC("xdp")
int clock(struct xdp_md* context) {
  __u32 key = 7;
  __u64 now = bpf_ktime_get_ns();
  bpf_map_update_elem(&stamps, &key, &now, BPF_ANY);
  return XDP_PASS;
}

SEC("xdp")
int chance(struct xdp_md* context) { return bpf_get_prandom_u32() & 0xffff; }

/* What Linux leaves open beside what it does not, in one entry of a map and in one packet. */
struct visit {
  __u64 last_seen;
  __u64 count;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct visit);
} visits SEC(".maps");

SEC("xdp")
int visit(struct xdp_md* context) {
  __u32 key = 3;
  struct visit fresh = {};
  bpf_map_update_elem(&visits, &key, &fresh, BPF_NOEXIST);
  struct visit* visit = bpf_map_lookup_elem(&visits, &key);
  if (!visit) return XDP_ABORTED;
  visit->last_seen = bpf_ktime_get_ns();
  visit->count += 1 + TWIN;
  return XDP_PASS;
}

SEC("xdp")
int chance_and_bytes(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_DROP;
  __u32 chance = bpf_get_prandom_u32();
  __builtin_memcpy(data, &chance, sizeof chance);
  data[9] = 0x20 + TWIN;
  return XDP_PASS;
}

SEC("xdp")
int slow(struct xdp_md* context) {
  /* The clock is read, and what it says does not matter. */
  return bpf_ktime_get_ns() == 0 ? XDP_DROP : XDP_PASS + TWIN;
}

/* Linux lets programs of root write addresses into packets. This byte of one is another in each
 * kernel, as the page is. */
SEC("xdp")
int address(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 20) > (void*)(long)context->data_end) return XDP_DROP;
  volatile __u64* whole = (void*)data;
  *whole = (__u64)bpf_map_lookup_elem(&counts, &(__u32){0});
  data[8] = ((volatile __u8*)data)[1];
  *whole = 0;
  data[16] = 0x30 + TWIN;
  return XDP_PASS;
}

/* The order in which a hash is gone through. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u32);
} crowd SEC(".maps");

static int take_key(void* map, __u32* key, __u32* value, __u32* taken) {
  *taken = *taken * 31 + *key;
  return 0;
}

SEC("xdp")
int order(struct xdp_md* context) {
  for (int i = 0; i < 32; i++) {
    __u32 key = i;
    bpf_map_update_elem(&crowd, &key, &key, BPF_ANY);
  }
  __u32 taken = 0;
  bpf_for_each_map_elem(&crowd, take_key, &taken, 0);
  return taken & 0xffff;
}

SEC("kprobe/nowhere")
int foreign(void* context) { return 0; }

char program_license[] SEC("license") = "GPL";
