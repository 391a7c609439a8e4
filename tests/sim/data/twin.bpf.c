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

SEC("kprobe/nowhere")
int foreign(void* context) { return 0; }

char program_license[] SEC("license") = "GPL";
