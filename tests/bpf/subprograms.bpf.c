/* Functions: static and global, nested, with stack of their own and pointers into the caller's. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} answers SEC(".maps");

struct summary {
  __u64 sum;
  __u32 largest;
  __u32 bytes;
};

static __noinline void add_byte(struct summary* summary, __u8 byte) {
  summary->sum += byte;
  summary->bytes += 1;
  if (byte > summary->largest) summary->largest = byte;
}

static __noinline __u64 sum_four(struct summary* summary, const __u8* bytes) {
  __u8 copy[64] = {};
  for (int i = 0; i < 4; i++) {
    copy[i * 8] = bytes[i];
    add_byte(summary, copy[i * 8]);
  }
  return summary->sum;
}

/* Checked by the verifier on its own, as every global function is. */
__noinline __u64 mix(__u64 a, __u64 b, __u64 c, __u64 d, __u64 e) {
  return (a * 3) ^ (b << 7) ^ (c >> 3) ^ ((d + 11) * e);
}

__noinline int length_class(struct xdp_md* context) {
  __u64 length = context->data_end - context->data;
  if (length < 64) return 0;
  return length < 512 ? 1 : 2;
}

static __noinline void note(__u32 key, __u64 value) {
  __u64* slot = bpf_map_lookup_elem(&answers, &key);
  if (slot) *slot = value;
}

SEC("xdp")
int call_functions(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  struct summary summary = {};
  __u64 first = sum_four(&summary, data);
  __u64 second = sum_four(&summary, data + 6);
  __u8 third = data[13];
  __u64 mixed = mix(first, second, third, summary.largest, summary.bytes);
  note(0, first);
  note(1, second);
  note(2, mixed);
  int length = length_class(context);
  note(3, length);
  return length == 2 ? XDP_TX : (mixed & 1 ? XDP_PASS : XDP_DROP);
}

char LICENSE[] SEC("license") = "GPL";
