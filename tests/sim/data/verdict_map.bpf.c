// The verdict stands in a map; tc programs and XDP programs in one object.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} verdict SEC(".maps");

SEC("xdp")
int from_map(struct xdp_md *ctx) {
  __u32 zero = 0;
  __u32 *found = bpf_map_lookup_elem(&verdict, &zero);
  return found ? *found : XDP_ABORTED;
}

// XDP_DROP where the frame is the IPv4/UDP one of 64 bytes, XDP_TX for every other.
SEC("xdp")
int expects_udp(struct xdp_md *ctx) {
  unsigned char *data = (void *)(long)ctx->data;
  unsigned char *end = (void *)(long)ctx->data_end;
  if (data + 64 > end || data + 65 <= end) return XDP_TX;
  if (data[12] != 8 || data[13] != 0 || data[14] != 0x45 || data[23] != 17) return XDP_TX;
  __u32 sum = 0;
  for (int i = 14; i < 34; i += 2) sum += data[i] << 8 | data[i + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  return sum == 0xffff ? XDP_DROP : XDP_TX;
}

SEC("tc")
int shoot(struct __sk_buff *ctx) { return TC_ACT_SHOT; }

char _license[] SEC("license") = "GPL";
