/* Dynptrs of every kind: made, cut, cloned, read, written, looked into, at offsets from the frame. */
#include "answers.h"

#define NEW __attribute__((weak)) __ksym
extern int bpf_dynptr_from_skb(struct __sk_buff* skb, __u64 flags, struct bpf_dynptr* to) NEW;
extern int bpf_dynptr_from_xdp(struct xdp_md* xdp, __u64 flags, struct bpf_dynptr* to) NEW;
extern void* bpf_dynptr_slice(const struct bpf_dynptr* of, __u32 offset, void* buffer,
                              __u32 size) NEW;
extern void* bpf_dynptr_slice_rdwr(const struct bpf_dynptr* of, __u32 offset, void* buffer,
                                   __u32 size) NEW;
extern int bpf_dynptr_adjust(const struct bpf_dynptr* of, __u32 start, __u32 end) NEW;
extern _Bool bpf_dynptr_is_null(const struct bpf_dynptr* of) NEW;
extern _Bool bpf_dynptr_is_rdonly(const struct bpf_dynptr* of) NEW;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr* of) NEW;
extern int bpf_dynptr_clone(const struct bpf_dynptr* of, struct bpf_dynptr* to) NEW;

char _license[] SEC("license") = "GPL";

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u8[64]);
} values SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline __u64 word(const __u8* bytes) {
  return bytes[0] | (__u64)bytes[1] << 8 | (__u64)bytes[2] << 16 | (__u64)bytes[3] << 24;
}

/* What every kind answers alike; `key` is of the first answer. */
static __always_inline void ask(struct bpf_dynptr* dynptr, __u32 key, __u32 at) {
  __u8 bytes[8] = {};
  struct bpf_dynptr clone;
  note(key + 0, bpf_dynptr_size(dynptr));
  note(key + 1, bpf_dynptr_is_null(dynptr) | bpf_dynptr_is_rdonly(dynptr) << 1);
  note(key + 2, bpf_dynptr_read(bytes, sizeof bytes, dynptr, at, 0));
  note(key + 3, word(bytes));
  note(key + 4, bpf_dynptr_read(bytes, sizeof bytes, dynptr, 1 << 20, 0));
  note(key + 5, bpf_dynptr_read(bytes, sizeof bytes, dynptr, 0, 1));
  note(key + 6, bpf_dynptr_read(bytes, 0, dynptr, 0, 0));
  note(key + 7, bpf_dynptr_write(dynptr, at, "dynptr", 6, 0));
  note(key + 8, bpf_dynptr_write(dynptr, -1, "dynptr", 6, 0));
  note(key + 9, bpf_dynptr_clone(dynptr, &clone));
  note(key + 10, bpf_dynptr_adjust(&clone, 3, 2));
  note(key + 11, bpf_dynptr_adjust(&clone, 0, 1 << 20));
  note(key + 12, bpf_dynptr_adjust(&clone, 2, 14));
  note(key + 13, bpf_dynptr_size(&clone));
  note(key + 14, bpf_dynptr_read(bytes, sizeof bytes, &clone, 4, 0));
  note(key + 15, word(bytes));
  note(key + 16, bpf_dynptr_read(bytes, sizeof bytes, &clone, 5, 0));
  const __u8* seen = bpf_dynptr_slice(dynptr, at, bytes, sizeof bytes);
  note(key + 17, seen ? word(seen) : -1);
  seen = bpf_dynptr_slice(&clone, 5, bytes, sizeof bytes);
  note(key + 18, seen ? word(seen) : -1);
  __u8* open = bpf_dynptr_slice_rdwr(&clone, 1, 0, 4);
  if (open) open[2] = 0x77;
  note(key + 19, open ? word(open) : -1);
  note(key + 20, bpf_dynptr_write(dynptr, 0, bytes, 2, 1));
}

static __always_inline void ask_of_memory(void) {
  __u32 zero = 0;
  struct bpf_dynptr dynptr;
  __u8* value = bpf_map_lookup_elem(&values, &zero);
  if (!value) return;
  note(0, bpf_dynptr_from_mem(value, 48, 0, &dynptr));
  ask(&dynptr, 1, 40);
  __u8* data = bpf_dynptr_data(&dynptr, 8, 16);
  if (data) data[15] = 9;
  note(22, data ? word(data) : -1);
  note(23, bpf_dynptr_data(&dynptr, 40, 16) != 0);
  note(24, bpf_dynptr_from_mem(value, 48, 1, &dynptr));
  ask(&dynptr, 25, 0);

  note(46, bpf_ringbuf_reserve_dynptr(&ring, 32, 0, &dynptr));
  data = bpf_dynptr_data(&dynptr, 0, 32);
  if (data) __builtin_memset(data, 3, 32);
  bpf_dynptr_write(&dynptr, 16, "record", 6, 0);
  note(47, bpf_dynptr_size(&dynptr));
  bpf_ringbuf_submit_dynptr(&dynptr, 0);
  note(48, bpf_ringbuf_reserve_dynptr(&ring, 1 << 20, 0, &dynptr));
  note(49, bpf_dynptr_is_null(&dynptr));
  bpf_ringbuf_discard_dynptr(&dynptr, 0);
  note(50, bpf_ringbuf_reserve_dynptr(&ring, 8, 1, &dynptr));
  bpf_ringbuf_discard_dynptr(&dynptr, 0);
  note(51, bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
}

SEC("xdp")
int of_memory(struct xdp_md* xdp) {
  ask_of_memory();
  return XDP_PASS;
}

SEC("xdp")
int of_frame(struct xdp_md* xdp) {
  struct bpf_dynptr dynptr;
  __u8 first[1] = {};
  note(60, bpf_dynptr_from_xdp(xdp, 0, &dynptr));
  bpf_dynptr_read(first, 1, &dynptr, 0, 0);
  ask(&dynptr, 61, first[0]);
  note(82, bpf_dynptr_from_xdp(xdp, 1, &dynptr));
  note(83, bpf_dynptr_is_null(&dynptr));
  return XDP_PASS;
}

SEC("tc")
int of_packet(struct __sk_buff* skb) {
  struct bpf_dynptr dynptr;
  __u8 first[1] = {};
  note(90, bpf_dynptr_from_skb(skb, 0, &dynptr));
  bpf_dynptr_read(first, 1, &dynptr, 0, 0);
  ask(&dynptr, 91, first[0]);
  note(112, bpf_dynptr_from_skb(skb, 1, &dynptr));
  note(113, bpf_dynptr_is_null(&dynptr));
  return 0;
}
