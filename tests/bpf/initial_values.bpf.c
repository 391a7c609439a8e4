/* Maps that hold objects, filled by their definitions: with holes, with a slot past the first, the
 * same inner map twice, and programs that are in no other way reached. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct inner {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, __u64);
};
struct inner red SEC(".maps");
struct inner green SEC(".maps");
struct inner blue SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 6);
  __uint(key_size, 4);
  __array(values, struct inner);
} by_place SEC(".maps") = {.values = {[0] = &red, [2] = &green, [3] = &red, [5] = &blue}};

struct {
  __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
  __uint(max_entries, 8);
  __uint(key_size, 4);
  __array(values, struct inner);
} by_key SEC(".maps") = {.values = {[1] = &blue, [4] = &green}};

int leaf_low(struct xdp_md* context);
int leaf_high(struct xdp_md* context);

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 5);
  __uint(key_size, 4);
  __array(values, int(void*));
} leaves SEC(".maps") = {.values = {[1] = (void*)&leaf_low, [4] = (void*)&leaf_high}};

static __always_inline int count_in(void* outer, __u32 slot, __u64 by) {
  __u32 first = 0;
  void* map = bpf_map_lookup_elem(outer, &slot);
  if (!map) return 0;
  __u64* value = bpf_map_lookup_elem(map, &first);
  if (!value) return 0;
  *value += by;
  return 1;
}

SEC("xdp")
int through_maps(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  int found = count_in(&by_place, data[0] & 7, data[1]);
  found += 2 * count_in(&by_key, data[5] & 7, 1);
  return found;
}

SEC("xdp")
int leaf_low(struct xdp_md* context) { return XDP_DROP; }

SEC("xdp")
int leaf_high(struct xdp_md* context) { return XDP_TX; }

SEC("xdp")
int through_programs(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  bpf_tail_call(context, &leaves, data[0] & 7);
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
