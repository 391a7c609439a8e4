/* Atomic operations of both widths on a map value, on the stack and, in the fetching forms, their
 * old values. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct cell {
  __u64 add, fetch_add, and_, or_, xor_, xchg, cmpxchg, fetch_and, fetch_or, fetch_xor;
  __u32 add32, fetch_add32, and32, or32, xor32, xchg32, cmpxchg32, fetch_or32;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct cell);
} cells SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, __u64);
} old_values SEC(".maps");

static __always_inline void note(__u32 key, __u64 value) {
  __u64* slot = bpf_map_lookup_elem(&old_values, &key);
  if (slot) *slot = value;
}

SEC("xdp")
int atomics(struct xdp_md* context) {
  __u64* words = (void*)(long)context->data;
  if ((void*)words + 14 > (void*)(long)context->data_end) return XDP_ABORTED;
  __u64 operand = words[0];
  __u32 operand32 = *(__u32*)((void*)words + 8);

  __u32 zero = 0;
  struct cell* cell = bpf_map_lookup_elem(&cells, &zero);
  if (!cell) return XDP_ABORTED;

  /* Something for the ANDs to clear. */
  cell->and_ += 0x0123456789abcdef;
  cell->fetch_and += 0x0123456789abcdef;
  cell->and32 += 0x89abcdef;

  __sync_fetch_and_add(&cell->add, operand);
  __sync_fetch_and_and(&cell->and_, operand | 0xff);
  __sync_fetch_and_or(&cell->or_, operand & 0xff00ff00ff00ff00);
  __sync_fetch_and_xor(&cell->xor_, operand);
  note(0, __sync_fetch_and_add(&cell->fetch_add, operand));
  note(1, __sync_fetch_and_and(&cell->fetch_and, operand));
  note(2, __sync_fetch_and_or(&cell->fetch_or, operand));
  note(3, __sync_fetch_and_xor(&cell->fetch_xor, operand));
  note(4, __sync_lock_test_and_set(&cell->xchg, operand));
  /* Succeeds when the value is 0 or came from an equal packet; fails otherwise. */
  note(5, __sync_val_compare_and_swap(&cell->cmpxchg, operand & 1 ? 0 : operand, operand));

  __sync_fetch_and_add(&cell->add32, operand32);
  __sync_fetch_and_and(&cell->and32, operand32);
  __sync_fetch_and_or(&cell->or32, operand32 & 0x0f0f0f0f);
  __sync_fetch_and_xor(&cell->xor32, operand32);
  note(6, __sync_fetch_and_add(&cell->fetch_add32, operand32));
  note(7, __sync_fetch_and_or(&cell->fetch_or32, operand32));
  note(8, __sync_lock_test_and_set(&cell->xchg32, operand32));
  note(9, __sync_val_compare_and_swap(&cell->cmpxchg32, operand32 & 1 ? 0 : operand32, operand32));

  __u64 on_stack = operand;
  note(10, __sync_fetch_and_add(&on_stack, 0xffffffff));
  note(11, __sync_val_compare_and_swap(&on_stack, operand + 0xffffffff, 42));
  note(12, on_stack);
  return on_stack == 42 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
