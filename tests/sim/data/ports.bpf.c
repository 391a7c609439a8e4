/* Programs that send packets from one interface to another, for tests of the command; nic0 and nic1
 * are the interfaces 2 and 3, as in examples/net/two-ports.toml. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#define NIC0 2
#define NIC1 3

struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u32);
} sockets SEC(".maps");

SEC("?xdp") int cross(struct xdp_md* context) {
  return bpf_redirect(context->ingress_ifindex == NIC0 ? NIC1 : NIC0, 0);
}

/* What no socket takes passes. */
SEC("?xdp") int to_socket(struct xdp_md* context) {
  return bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}

SEC("?xdp.frags") int any_length(struct xdp_md* context) { return XDP_PASS; }

SEC("?tc/ingress") int mirror(struct __sk_buff* skb) {
  bpf_clone_redirect(skb, NIC1, 0);
  return TC_ACT_OK;
}

SEC("?tc/egress") int shoot(struct __sk_buff* skb) { return TC_ACT_SHOT; }

/* As a classifier: all but the frames of one length match. */
SEC("?tc/ingress") int longer(struct __sk_buff* skb) { return skb->len > 100 ? -1 : 0; }

/* Whether the frame fits nic1, or -ENODEV. */
SEC("?tc") int fits(struct __sk_buff* skb) {
  __u32 mtu = 0;
  return bpf_check_mtu(skb, NIC1, &mtu, 0, 0);
}

char LICENSE[] SEC("license") = "GPL";
