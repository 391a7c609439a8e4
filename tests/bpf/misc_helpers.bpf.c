/* Helpers whose value must not show (clock, random numbers, CPU) and those that only leave a trace
 * (trace_printk, redirect). The verdicts depend on the packet alone. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

__u64 clock_ran_backwards;
__u64 last_time;
__u64 random_values_used;
__u64 cpu_out_of_range;

SEC("xdp")
int call_and_discard(struct xdp_md* context) {
  __u64 now = bpf_ktime_get_ns();
  if (now < last_time) clock_ran_backwards = 1;
  last_time = 0;
  if (bpf_get_smp_processor_id() > 4095) cpu_out_of_range = 1;
  if (bpf_get_prandom_u32() || bpf_get_prandom_u32() || bpf_get_prandom_u32())
    random_values_used = 1;
  return XDP_PASS;
}

SEC("xdp")
int print(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  void* end = (void*)(long)context->data_end;
  if ((void*)(data + 14) > end) return XDP_ABORTED;
  int length = (int)(end - (void*)data);
  long written = bpf_printk("length %d, first byte %x, type %x", length, data[0], data[12]);
  return written > 0 ? XDP_PASS : XDP_DROP;
}

/* An interface that exists nowhere: TEST_RUN does not carry it out, only the verdict shows. */
SEC("xdp")
int xdp_redirect_by_first_byte(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 1) > (void*)(long)context->data_end) return XDP_ABORTED;
  return bpf_redirect(1000, data[0] & 1);
}

SEC("tc")
int tc_redirect_by_first_byte(struct __sk_buff* skb) {
  __u8* data = (void*)(long)skb->data;
  if ((void*)(data + 1) > (void*)(long)skb->data_end) return 0;
  return bpf_redirect(1000, data[0] & 3);
}

char LICENSE[] SEC("license") = "GPL";
