/* Global variables: .data, .bss, .rodata, and a static array indexed by the packet. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u64 packets;                        /* .bss */
__u32 seen_lengths[16];               /* .bss */
__u64 running = 0x1234;               /* .data */
static volatile __u32 step = 7;       /* .data */
const volatile __u32 threshold = 100; /* .rodata */
static const __u8 permutation[16] = { /* .rodata */
                                     11, 3, 14, 7, 0, 9, 5, 12, 1, 15, 8, 2, 13, 6, 4, 10};
struct {
  __u8 last[14];
  __u16 check;
} record; /* .bss */

SEC("xdp")
int globals(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if ((void*)(data + 14) > end) return XDP_ABORTED;
  __u64 length = end - (void*)data;
  packets += 1;
  seen_lengths[(length >> 5) & 15] += 1;
  running = running * 31 + permutation[data[0] & 15] + step;
  step += 2;
  record.check = 0;
  for (int i = 0; i < 14; i++) {
    record.last[i] = data[i];
    record.check += data[i];
  }
  return length > threshold ? XDP_PASS : XDP_DROP;
}

SEC("tc")
int globals_shared_with_tc(struct __sk_buff* skb) {
  packets += 100;
  running ^= skb->len;
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
