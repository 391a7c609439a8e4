/* Maps without keys, and per-CPU values of a named CPU: pushes past the end with every flag, pops
 * and peeks of what is empty, a bloom filter asked for what it was given, CPUs that do not exist.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_QUEUE);
  __uint(max_entries, 3);
  __type(value, __u64);
} queue SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_STACK);
  __uint(max_entries, 3);
  __type(value, __u64);
} stack SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
  __uint(max_entries, 64);
  __type(value, __u64);
} filter SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} seen SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u64);
} recent SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 32);
  __type(key, __u32);
  __type(value, __u64);
} answers SEC(".maps");

static __noinline void note(__u32 key, __u64 value) {
  __u64* slot = bpf_map_lookup_elem(&answers, &key);
  if (slot) *slot = *slot * 31 + value;
}

/* The first byte of the frame says what to do, the second with which flags. */
static __always_inline int first_bytes(struct xdp_md* ctx, __u32* what, __u64* flags) {
  unsigned char* data = (void*)(long)ctx->data;
  unsigned char* end = (void*)(long)ctx->data_end;
  if (data + 14 > end) return 0;
  *what = data[0] ^ data[11];
  *flags = data[5] & 7;
  return 1;
}

#define EXERCISE(map, base)                                                   \
  do {                                                                        \
    __u64 value = what * 7 + base;                                            \
    note(base, bpf_map_push_elem(&map, &value, flags));                       \
    note(base + 1, bpf_map_push_elem(&map, &value, BPF_ANY));                 \
    if (what & 1) note(base + 2, bpf_map_push_elem(&map, &value, BPF_EXIST)); \
    value = 99;                                                               \
    note(base + 3, bpf_map_peek_elem(&map, &value));                          \
    note(base + 4, value);                                                    \
    if (what & 2) {                                                           \
      for (int i = 0; i < 4; i++) {                                           \
        value = 77;                                                           \
        note(base + 5, bpf_map_pop_elem(&map, &value));                       \
        note(base + 6, value);                                                \
      }                                                                       \
    }                                                                         \
  } while (0)

SEC("xdp")
int queue_and_stack(struct xdp_md* ctx) {
  __u32 what;
  __u64 flags;
  if (!first_bytes(ctx, &what, &flags)) return XDP_DROP;
  EXERCISE(queue, 0);
  EXERCISE(stack, 8);
  return XDP_PASS;
}

SEC("xdp")
int bloom(struct xdp_md* ctx) {
  __u32 what;
  __u64 flags;
  if (!first_bytes(ctx, &what, &flags)) return XDP_DROP;
  __u64 value = what;
  note(16, bpf_map_push_elem(&filter, &value, flags));
  note(17, bpf_map_push_elem(&filter, &value, BPF_ANY));
  /* What was pushed is found; what was not may be. */
  note(18, bpf_map_peek_elem(&filter, &value));
  return XDP_PASS;
}

static __always_inline void add(__u32 slot, __u64* value) {
  note(slot, value != 0);
  if (value) {
    note(slot + 1, *value);
    *value += slot;
  }
}

SEC("xdp")
int of_a_cpu(struct xdp_md* ctx) {
  __u32 what;
  __u64 flags;
  if (!first_bytes(ctx, &what, &flags)) return XDP_DROP;
  __u32 key = what & 7;
  __u64 one = 1;
  /* One CPU that exists, and one that cannot. */
  __u32 cpu = what & 8 ? 0 : 1u << 20;
  bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
  bpf_map_update_elem(&recent, &key, &one, BPF_ANY);
  add(19, bpf_map_lookup_percpu_elem(&slots, &key, cpu));
  add(21, bpf_map_lookup_percpu_elem(&seen, &key, cpu));
  add(23, bpf_map_lookup_percpu_elem(&recent, &key, cpu));
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
