/* XDP hands each frame to a CPU by its length; tc there writes which CPU it is and sends it back.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_CPUMAP);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u32);
} cpus SEC(".maps");

#define MARK 8

/* In front of the frame: its CPU now, and room for the one that it will be on. */
SEC("xdp") int hand_over(struct xdp_md* context) {
  __u32 cpu = (context->data_end - context->data) & 3;
  if (bpf_xdp_adjust_head(context, -MARK) || bpf_xdp_adjust_meta(context, -4)) return XDP_ABORTED;
  __u32* mark = (void*)(long)context->data;
  __u32* meta = (void*)(long)context->data_meta;
  if ((void*)mark + MARK > (void*)(long)context->data_end || (void*)(meta + 1) > (void*)mark) {
    return XDP_ABORTED;
  }
  mark[0] = cpu;
  mark[1] = ~0u;
  *meta = cpu;
  return bpf_redirect_map(&cpus, cpu, XDP_DROP);
}

SEC("tc") int send_back(struct __sk_buff* skb) {
  __u32* mark = (void*)(long)skb->data;
  __u32* meta = (void*)(long)skb->data_meta;
  if ((void*)mark + ETH_HLEN > (void*)(long)skb->data_end || (void*)(meta + 1) > (void*)mark) {
    return TC_ACT_SHOT;
  }
  if (*meta != mark[0]) return TC_ACT_SHOT;
  mark[1] = bpf_get_smp_processor_id();
  return bpf_redirect(skb->ifindex, 0);
}

char _license[] SEC("license") = "GPL";
