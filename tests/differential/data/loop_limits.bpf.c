/* Loops that only a limit ends. They take long, so that they run over one packet alone. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} rounds SEC(".maps");

static __always_inline void note(__u32 key, __u64 value) {
  bpf_map_update_elem(&rounds, &key, &value, BPF_ANY);
}

#define can_loop                                            \
  ({                                                        \
    __label__ l_break, l_continue;                          \
    _Bool ret = 1;                                          \
    asm volatile goto("may_goto %l[l_break]" :: ::l_break); \
    goto l_continue;                                        \
  l_break:                                                  \
    ret = 0;                                                \
  l_continue:;                                              \
    ret;                                                    \
  })

SEC("xdp")
int by_may_goto(struct xdp_md* context) {
  __u64 count = 0;
  while (can_loop) count++;
  note(0, count);
  return XDP_PASS;
}

static int add_one(__u32 index, __u64* count) {
  *count += 1;
  return 0;
}

SEC("xdp")
int by_bpf_loop(struct xdp_md* context) {
  __u64 count = 0;
  note(1, bpf_loop(1 << 23, add_one, &count, 0));
  note(2, count);
  note(3, bpf_loop((1 << 23) + 1, add_one, &count, 0));
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
