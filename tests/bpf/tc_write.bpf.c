/* tc: direct reads and writes of the packet. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

__u64 checks;

/* Swaps the MAC addresses and marks the frame's last readable byte of the header. */
SEC("tc")
int swap_addresses(struct __sk_buff* skb) {
  __u8* data = (void*)(long)skb->data;
  if ((void*)(data + 14) > (void*)(long)skb->data_end) return TC_ACT_SHOT;
  for (int i = 0; i < 6; i++) {
    __u8 byte = data[i];
    data[i] = data[6 + i];
    data[6 + i] = byte;
  }
  data[13] ^= 0x55;
  return TC_ACT_OK;
}

/* A loop with a packet offset that varies: sums 16-bit words up to the 32nd. */
SEC("tc")
int sum_words(struct __sk_buff* skb) {
  void* data = (void*)(long)skb->data;
  void* end = (void*)(long)skb->data_end;
  __u32 sum = 0;
  for (int i = 0; i < 32; i++) {
    __u16* word = data + i * 2;
    if ((void*)(word + 1) > end) break;
    sum += *word;
  }
  checks = checks * 33 + sum;
  skb->mark = sum;
  return sum & 1 ? TC_ACT_OK : TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "GPL";
