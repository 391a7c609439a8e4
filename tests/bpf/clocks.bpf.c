/* The clocks and what else the machine answers, none of which may show: only that each clock runs
 * forward, that the ticks are where Linux lets them begin, and that reads of memory end well. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define FIVE_MINUTES_BEFORE_OVERFLOW 0xfff00000ull /* at every tick rate from 100 to 1000 */

__u64 last[4];
__u64 ran_backwards;
__u64 ticks_begin_elsewhere;
__u64 node;

static __always_inline void watch(__u32 clock, __u64 now) {
  if (now < last[clock]) ran_backwards |= 1 << clock;
  last[clock] = now;
}

SEC("xdp")
int watch_clocks(struct xdp_md* context) {
  watch(0, bpf_ktime_get_boot_ns());
  watch(1, bpf_ktime_get_coarse_ns());
  watch(2, bpf_ktime_get_tai_ns());
  watch(3, bpf_jiffies64());
  if (last[3] < FIVE_MINUTES_BEFORE_OVERFLOW) ticks_begin_elsewhere = 1;
  node = bpf_get_numa_node_id();
  for (int i = 0; i < 4; i++) last[i] = 0;
  return ran_backwards ? XDP_DROP : XDP_PASS;
}

struct copies {
  char text[16];
  __u64 number;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, struct copies);
} read SEC(".maps");

const volatile char text[12] = "eleven text";

static __always_inline struct copies* copy(__u32 key, __u64 number) {
  struct copies* copy = bpf_map_lookup_elem(&read, &key);
  if (!copy) return 0;
  __builtin_memset(copy, 0x55, sizeof(*copy));
  copy->number = number;
  return copy;
}

SEC("xdp")
int probe_reads(struct xdp_md* context) {
  __u64 number = 0x1122334455667788;
  struct copies* to;
  if ((to = copy(0, 0))) to->number += bpf_probe_read_kernel(to->text, 8, &number);
  if ((to = copy(1, 0))) to->number += bpf_probe_read_kernel(to->text, 0, &number);
  if ((to = copy(2, 0))) to->number += bpf_probe_read_kernel(to->text, 5, (void*)8);
  if ((to = copy(3, 0))) to->number += bpf_probe_read_kernel_str(to->text, 16, (const void*)text);
  if ((to = copy(4, 0))) to->number += bpf_probe_read_kernel_str(to->text, 4, (const void*)text);
  if ((to = copy(5, 0))) to->number += bpf_probe_read_kernel_str(to->text, 16, (void*)8);
  if ((to = copy(6, 0))) to->number += bpf_probe_read_kernel_str(to->text, 0, (const void*)text);
  if ((to = copy(7, 0))) to->number += bpf_probe_read_kernel_str(to->text, 1, (const void*)text);
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
