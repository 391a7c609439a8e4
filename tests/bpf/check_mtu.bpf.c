/* bpf_check_mtu against the loopback device, where BPF_PROG_TEST_RUN has packets arrive, and an
 * interface that exists nowhere: lengths given and not, differences of both signs, flags. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define NOWHERE 99999
#define ANSWERS 16

struct answer {
  __s64 result;
  __u32 mtu;
  __u32 pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ANSWERS);
  __type(key, __u32);
  __type(value, struct answer);
} answers SEC(".maps");

static __always_inline void ask(void* context, __u32 key, __u32 ifindex, __u32 mtu,
                                __s32 difference, __u64 flags) {
  long result = bpf_check_mtu(context, ifindex, &mtu, difference, flags);
  struct answer* answer = bpf_map_lookup_elem(&answers, &key);
  if (!answer) return;
  answer->result = result;
  answer->mtu = mtu;
}

static __always_inline int ask_all(void* context) {
  ask(context, 0, 0, 0, 0, 0);
  ask(context, 1, 1, 0, 0, 0);
  ask(context, 2, NOWHERE, 7, 0, 0);
  ask(context, 3, 1, 65536, 0, 0);
  ask(context, 4, 1, 65537, 0, 0);
  ask(context, 5, 1, 0, 65536 + 14, 0);
  ask(context, 6, 1, 0, 65536, 0);
  ask(context, 7, 1, 100, -200, 0);
  ask(context, 8, 1, 0, -1000000, 0);
  ask(context, 9, 0, 0, 0, BPF_MTU_CHK_SEGS);
  ask(context, 10, 0, 5, 0, BPF_MTU_CHK_SEGS);
  ask(context, 11, 0, 0, 5, BPF_MTU_CHK_SEGS);
  ask(context, 12, 0, 0, 0, 2);
  ask(context, 13, 0, 0xffffffff, 0, 0);
  ask(context, 14, 0, 0, 0x7fffffff, 0);
  ask(context, 15, NOWHERE, 0, 0, 2);
  return 0;
}

SEC("xdp")
int at_xdp(struct xdp_md* context) { return ask_all(context) + XDP_PASS; }

SEC("tc")
int at_tc(struct __sk_buff* skb) { return ask_all(skb); }

char LICENSE[] SEC("license") = "GPL";
