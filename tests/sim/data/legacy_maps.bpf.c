/* Maps as libbpf before 1.0 and iproute2 had them, beside one as it is today. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct bpf_map_def {
  unsigned type, key_size, value_size, max_entries, map_flags;
};

struct bpf_elf_map {
  __u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};

struct bpf_map_def SEC("maps") old_counts = {BPF_MAP_TYPE_HASH, 4, 8, 16, 0};

struct bpf_elf_map SEC("maps") inner = {
    .type = BPF_MAP_TYPE_ARRAY,
    .size_key = 4,
    .size_value = 8,
    .max_elem = 3,
    .id = 42,
    .pinning = 2, /* diff pins nothing */
    .inner_idx = 1,
};

struct bpf_elf_map SEC("maps") outer = {
    .type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
    .size_key = 4,
    .size_value = 4,
    .max_elem = 2,
    .inner_id = 42,
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u64);
} new_counts SEC(".maps");

static __always_inline void count(void* map, __u32 key) {
  __u64* value = bpf_map_lookup_elem(map, &key);
  if (value) *value += 1;
}

SEC("xdp")
int through_all(struct xdp_md* context) {
  __u32 key = 9, slot = 1;
  __u64 fresh = 5;
  bpf_map_update_elem(&old_counts, &key, &fresh, BPF_NOEXIST);
  count(&old_counts, key);
  count(&new_counts, 1);
  void* found = bpf_map_lookup_elem(&outer, &slot);
  if (!found) return XDP_DROP;
  count(found, 2);
  return XDP_PASS;
}

#ifdef UNLOADABLE
/* XDP may not ask for a socket's cookie. */
SEC("xdp")
int asks(struct xdp_md* context) {
  count(&old_counts, 1);
  return bpf_get_socket_cookie(context);
}
#endif

char program_license[] SEC("license") = "GPL";
