/* BPF_LD_ABS and BPF_LD_IND, in bounds, out of them (which ends the function with 0), from the
 * Ethernet and the network header, and in a subprogram. */
#include <linux/bpf.h>
#include <linux/filter.h>

#include <bpf/bpf_helpers.h>

unsigned long long load_byte(void* skb, unsigned long long off) asm("llvm.bpf.load.byte");
unsigned long long load_half(void* skb, unsigned long long off) asm("llvm.bpf.load.half");
unsigned long long load_word(void* skb, unsigned long long off) asm("llvm.bpf.load.word");

SEC("tc")
int absolute(struct __sk_buff* skb) {
  return load_byte(skb, 0) + load_half(skb, 12) * 3 + load_word(skb, 26) * 5;
}

SEC("tc")
int indirect(struct __sk_buff* skb) {
  __u64 at = load_byte(skb, 0) * 2;
  return load_word(skb, at) ^ load_half(skb, at + 1) ^ load_byte(skb, at - 100);
}

SEC("tc")
int network_header(struct __sk_buff* skb) {
  return load_word(skb, SKF_NET_OFF) + load_half(skb, SKF_LL_OFF + 12) * 7;
}

SEC("tc")
int network_header_far(struct __sk_buff* skb) { return 1 + load_half(skb, SKF_NET_OFF + 3000); }

SEC("tc")
int ancillary(struct __sk_buff* skb) { return 1 + load_word(skb, SKF_AD_OFF + SKF_AD_PROTOCOL); }

/* Before every header there is. */
SEC("tc")
int before_all(struct __sk_buff* skb) { return 1 + load_byte(skb, SKF_LL_OFF - 1); }

static __noinline int third(struct __sk_buff* skb) { return load_word(skb, 60) | 1; }

SEC("tc")
int in_function(struct __sk_buff* skb) { return third(skb) + 10; }

char _license[] SEC("license") = "GPL";
