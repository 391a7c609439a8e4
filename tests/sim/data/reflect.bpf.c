/* Sends frames back changed, for tests of ports: longer and shorter at both ends. */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_helpers.h>

static int swap_addresses(struct xdp_md* context) {
  struct ethhdr* ethernet = (void*)(long)context->data;
  if ((void*)(ethernet + 1) > (void*)(long)context->data_end) return XDP_ABORTED;
  unsigned char source[ETH_ALEN];
  __builtin_memcpy(source, ethernet->h_source, ETH_ALEN);
  __builtin_memcpy(ethernet->h_source, ethernet->h_dest, ETH_ALEN);
  __builtin_memcpy(ethernet->h_dest, source, ETH_ALEN);
  return XDP_TX;
}

SEC("?xdp") int reflect(struct xdp_md* context) { return swap_addresses(context); }

#define TUNNEL 200

/* A new header in front, up to most of the headroom that XDP gives, and bytes behind. */
SEC("?xdp") int resize(struct xdp_md* context) {
  int length = context->data_end - context->data;
  switch (length & 7) {
    case 0:
      if (bpf_xdp_adjust_head(context, -TUNNEL)) return XDP_ABORTED;
      void* header = (void*)(long)context->data;
      if (header + TUNNEL > (void*)(long)context->data_end) return XDP_ABORTED;
      __builtin_memset(header, 0xab, TUNNEL);
      break;
    case 1:
      if (bpf_xdp_adjust_head(context, -14)) return XDP_ABORTED;
      break;
    case 2:
      if (bpf_xdp_adjust_head(context, 14)) return XDP_DROP;
      break;
    case 3:
      if (bpf_xdp_adjust_tail(context, 300)) return XDP_DROP;
      break;
    case 4:
      if (bpf_xdp_adjust_tail(context, -8)) return XDP_DROP;
      break;
    case 5:
      if (bpf_xdp_adjust_meta(context, -8)) return XDP_ABORTED;
      break;
    case 6:
      return XDP_PASS;
  }
  unsigned char* data = (void*)(long)context->data;
  if (data + ETH_HLEN > (unsigned char*)(long)context->data_end) return XDP_ABORTED;
  for (int i = 0; i < ETH_HLEN; ++i) data[i] = i;
  return XDP_TX;
}

__u64 count;

/* Loses one frame of four. */
SEC("?xdp") int every_fourth(struct xdp_md* context) {
  return __sync_fetch_and_add(&count, 1) % 4 == 3 ? XDP_DROP : swap_addresses(context);
}

/* Writes the time into the frame. */
SEC("?xdp") int numbered(struct xdp_md* context) {
  __u64* words = (void*)(long)context->data;
  if ((void*)(words + 1) > (void*)(long)context->data_end) return XDP_ABORTED;
  *words = bpf_ktime_get_ns();
  return XDP_TX;
}

/* Takes frames of any length. */
SEC("?xdp.frags") int reflect_frags(struct xdp_md* context) { return swap_addresses(context); }

char _license[] SEC("license") = "GPL";
