/* Tunnel keys and options of a packet: none at first, then set and read back, by every size that
 * the key has had, with good and bad flags. */
#include <linux/bpf.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#define ANSWERS 24
#define OPTIONS 64

struct answer {
  __s64 result;
  struct bpf_tunnel_key key;
  __u8 options[OPTIONS];
  __u8 pad[4];
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ANSWERS);
  __type(key, __u32);
  __type(value, struct answer);
} answers SEC(".maps");

static __always_inline struct answer* answer(__u32 key) {
  struct answer* found = bpf_map_lookup_elem(&answers, &key);
  if (found) __builtin_memset(found, 0x55, sizeof(*found));
  return found;
}

#define GET(SLOT, SIZE, FLAGS)                                               \
  do {                                                                       \
    struct answer* to = answer(SLOT);                                        \
    if (to) to->result = bpf_skb_get_tunnel_key(skb, &to->key, SIZE, FLAGS); \
  } while (0)

#define GET_OPTIONS(SLOT, SIZE)                                          \
  do {                                                                   \
    struct answer* to = answer(SLOT);                                    \
    if (to) to->result = bpf_skb_get_tunnel_opt(skb, to->options, SIZE); \
  } while (0)

#define NOTE(SLOT, RESULT)            \
  do {                                \
    struct answer* to = answer(SLOT); \
    if (to) to->result = RESULT;      \
  } while (0)

#define WITH_FLAGS (1ull << 4)

SEC("tc")
int ipv4_tunnel(struct __sk_buff* skb) {
  __u8 options[OPTIONS] = {1, 2, 3, 4, 5, 6, 7, 8};
  GET(0, sizeof(struct bpf_tunnel_key), 0);
  GET_OPTIONS(1, 8);
  NOTE(2, bpf_skb_set_tunnel_opt(skb, options, 8));
  struct bpf_tunnel_key key = {.tunnel_id = skb->len + 0x10000,
                               .remote_ipv4 = 0x0a000001,
                               .local_ipv4 = 0x0a000002,
                               .tunnel_tos = 4,
                               .tunnel_ttl = 64};
  NOTE(3, bpf_skb_set_tunnel_key(skb, &key, sizeof(key), skb->len & 0x1e));
  GET(4, sizeof(key), WITH_FLAGS);
  GET(5, sizeof(key), 0);
  GET(6, sizeof(key), BPF_F_TUNINFO_IPV6);
  GET(7, offsetof(struct bpf_tunnel_key, local_ipv6[0]), 0);
  GET(8, offsetof(struct bpf_tunnel_key, tunnel_label), 0);
  GET(9, offsetof(struct bpf_tunnel_key, tunnel_ext), 0);
  GET(10, offsetof(struct bpf_tunnel_key, remote_ipv6[1]), 0);
  GET(11, 5, 0);
  GET(12, sizeof(key), 1 << 6);
  GET_OPTIONS(13, 8);
  NOTE(14, bpf_skb_set_tunnel_opt(skb, options, 7));
  NOTE(15, bpf_skb_set_tunnel_opt(skb, options, 8));
  GET_OPTIONS(16, 8);
  GET_OPTIONS(17, 4);
  GET_OPTIONS(18, OPTIONS);
  GET(19, sizeof(key), WITH_FLAGS);
  NOTE(20, bpf_skb_set_tunnel_key(skb, &key, offsetof(struct bpf_tunnel_key, tunnel_label), 0));
  GET_OPTIONS(21, 8);
  key.tunnel_label = 5;
  NOTE(22, bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 0));
  NOTE(23, bpf_skb_set_tunnel_key(skb, &key, 11, 0));
  return 0;
}

SEC("tc")
int ipv6_tunnel(struct __sk_buff* skb) {
  struct bpf_tunnel_key key = {.tunnel_id = skb->len, .tunnel_label = 0xfff00000 + skb->len};
  for (int i = 0; i < 4; i++) {
    key.remote_ipv6[i] = i + 1;
    key.local_ipv6[i] = i + 100;
  }
  NOTE(0, bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6 | BPF_F_ZERO_CSUM_TX));
  GET(1, sizeof(key), BPF_F_TUNINFO_IPV6);
  GET(2, sizeof(key), BPF_F_TUNINFO_IPV6 | WITH_FLAGS);
  GET(3, sizeof(key), 0);
  GET(4, offsetof(struct bpf_tunnel_key, local_ipv6[0]), BPF_F_TUNINFO_IPV6);
  GET(5, offsetof(struct bpf_tunnel_key, remote_ipv6[1]), BPF_F_TUNINFO_IPV6);
  NOTE(6, bpf_skb_set_tunnel_key(skb, &key, sizeof(key), 1 << 5));
  key.tunnel_ext = 1;
  NOTE(7, bpf_skb_set_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_IPV6));
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
