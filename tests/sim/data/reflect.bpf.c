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

/* A new header in front, up to all of the headroom that XDP gives, and bytes behind. */
SEC("?xdp") int resize(struct xdp_md* context) {
  int length = context->data_end - context->data;
  switch (length & 7) {
    case 0:
      if (bpf_xdp_adjust_head(context, -200)) return XDP_ABORTED;
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

/* Takes frames of any length. */
SEC("?xdp.frags") int reflect_frags(struct xdp_md* context) { return swap_addresses(context); }

char license[] SEC("license") = "GPL";
