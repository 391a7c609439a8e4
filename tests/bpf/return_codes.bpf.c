/* Return codes taken from the first bytes of the frame: all known ones and many that no kernel
 * knows, negative ones among them. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_return_first_word(struct xdp_md* context) {
  __s32* word = (void*)(long)context->data;
  if ((void*)(word + 1) > (void*)(long)context->data_end) return XDP_ABORTED;
  return *word;
}

SEC("xdp")
int xdp_return_first_byte(struct xdp_md* context) {
  signed char* byte = (void*)(long)context->data;
  if ((void*)(byte + 1) > (void*)(long)context->data_end) return XDP_ABORTED;
  return *byte;
}

SEC("tc")
int tc_return_first_byte(struct __sk_buff* skb) {
  signed char* byte = (void*)(long)skb->data;
  if ((void*)(byte + 1) > (void*)(long)skb->data_end) return 0;
  return *byte;
}

SEC("tc")
int tc_return_unspecified(struct __sk_buff* skb) { return -1; }

char LICENSE[] SEC("license") = "GPL";
