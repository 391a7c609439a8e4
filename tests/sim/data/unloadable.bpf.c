/* No kernel loads it: XDP may not ask for a socket's cookie. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

SEC("xdp")
int reads(struct xdp_md* context) {
  __u32 key = 1;
  __u64* value = bpf_map_lookup_elem(&counts, &key);
  if (!value) return XDP_DROP;
  return bpf_get_socket_cookie(context) == *value;
}

char program_license[] SEC("license") = "GPL";
