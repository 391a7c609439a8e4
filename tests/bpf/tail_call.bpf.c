/* Tail calls through a prog_array that the loader of the test fills: 0 to 2 with the programs
 * `leaf_drop`, `leaf_tx` and `chain`; slots 3 to 7 stay empty. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, __u32);
} programs SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} runs SEC(".maps");

static __always_inline void count(__u32 key) {
  __u64* slot = bpf_map_lookup_elem(&runs, &key);
  if (slot) *slot += 1;
}

/* The last byte of the first MAC address picks the slot, from 0 to 255: an empty slot and one past
 * the end of the array both fall through. */
SEC("xdp")
int dispatch(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 6) > (void*)(long)context->data_end) return XDP_ABORTED;
  count(0);
  bpf_tail_call(context, &programs, data[5]);
  return XDP_PASS;
}

SEC("xdp")
int leaf_drop(struct xdp_md* context) {
  count(1);
  return XDP_DROP;
}

SEC("xdp")
int leaf_tx(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 1) > (void*)(long)context->data_end) return XDP_ABORTED;
  data[0] ^= 0x80;
  count(2);
  return XDP_TX;
}

/* Calls itself until the kernel's limit of 33 ends the chain. */
SEC("xdp")
int chain(struct xdp_md* context) {
  count(3);
  bpf_tail_call(context, &programs, 2);
  return XDP_DROP;
}

/* A tail call from within a function replaces that function alone: its caller goes on with what the
 * called program returned. */
static __noinline int jump(struct xdp_md* context, __u32 slot) {
  int untouched = 7;
  bpf_tail_call(context, &programs, slot & 7);
  barrier_var(untouched); /* or clang takes the result for a constant */
  return untouched;
}

SEC("xdp")
int dispatch_from_function(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 6) > (void*)(long)context->data_end) return XDP_ABORTED;
  __u8 slot = data[5];
  count(0);
  int answer = jump(context, slot);
  return answer + 1;
}

char LICENSE[] SEC("license") = "GPL";
