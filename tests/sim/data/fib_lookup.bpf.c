/* bpf_fib_lookup with the parameters that the frame holds behind its Ethernet header, and with the
 * flags in front of them; answer and parameters go back into the frame. For tests that set up a
 * network: see tests/sim/network_test.cpp. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct request {
  __u8 ethernet[14];
  __u16 size; /* of the parameters, as told to the helper */
  __u32 flags;
  __s32 answer;
  struct bpf_fib_lookup parameters;
} __attribute__((packed));

static __always_inline int look_up(void* context, void* data, void* end) {
  struct request* request = data;
  if ((void*)(request + 1) > end) return -1;
  struct bpf_fib_lookup parameters = request->parameters;
  if (request->size == sizeof(parameters))
    request->answer = bpf_fib_lookup(context, &parameters, sizeof(parameters), request->flags);
  else
    request->answer = bpf_fib_lookup(context, &parameters, sizeof(parameters) - 1, request->flags);
  request->parameters = parameters;
  return 0;
}

SEC("xdp")
int fib_at_xdp(struct xdp_md* context) {
  return look_up(context, (void*)(long)context->data, (void*)(long)context->data_end) + XDP_PASS;
}

SEC("tc")
int fib_at_tc(struct __sk_buff* skb) {
  return look_up(skb, (void*)(long)skb->data, (void*)(long)skb->data_end);
}

char LICENSE[] SEC("license") = "GPL";
