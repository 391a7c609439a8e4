/* Timers in values of an array and a hash. What they do shows when time has passed, so this is for
 * tests that let it: see tests/sim/timers_test.cpp. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#ifndef CLOCK_MONOTONIC
#define CLOCK_MONOTONIC 1
#endif

struct element {
  __u64 fired;
  __u64 key_seen;
  struct bpf_timer timer;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct element);
} in_array SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u64);
  __type(value, struct element);
} in_hash SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, __s64);
} answers SEC(".maps");

static __always_inline void note(__u32 key, __s64 value) {
  __s64* slot = bpf_map_lookup_elem(&answers, &key);
  if (slot) *slot = value;
}

static int on_array_timer(void* map, __u32* key, struct element* element) {
  element->fired++;
  element->key_seen = *key + 1000;
  note(8, bpf_timer_cancel(&element->timer)); /* its own */
  if (element->fired < 3) note(9, bpf_timer_start(&element->timer, 1000000, 0));
  return 0;
}

static int on_hash_timer(void* map, __u64* key, struct element* element) {
  element->fired += 10;
  element->key_seen = *key;
  if (*key == 7) {
    __u64 copy = *key;
    bpf_map_delete_elem(&in_hash, &copy);
  }
  return 0;
}

SEC("xdp")
int start(struct xdp_md* context) {
  __u32 index = 2;
  struct element* element = bpf_map_lookup_elem(&in_array, &index);
  if (!element) return XDP_DROP;
  note(0, bpf_timer_start(&element->timer, 0, 0));
  note(1, bpf_timer_init(&element->timer, &in_array, 5));
  note(2, bpf_timer_init(&element->timer, &in_array, CLOCK_MONOTONIC));
  note(3, bpf_timer_init(&element->timer, &in_array, CLOCK_MONOTONIC));
  note(4, bpf_timer_start(&element->timer, 0, 0));
  note(5, bpf_timer_set_callback(&element->timer, on_array_timer));
  note(6, bpf_timer_start(&element->timer, 1000, 4));
  note(7, bpf_timer_start(&element->timer, 1000, 0));
  for (__u64 key = 5; key < 9; key++) {
    struct element fresh = {};
    bpf_map_update_elem(&in_hash, &key, &fresh, BPF_ANY);
    struct element* entry = bpf_map_lookup_elem(&in_hash, &key);
    if (!entry) return XDP_DROP;
    bpf_timer_init(&entry->timer, &in_hash, CLOCK_MONOTONIC);
    bpf_timer_set_callback(&entry->timer, on_hash_timer);
    bpf_timer_start(&entry->timer, key * 1000, 0);
  }
  /* One that is cancelled and one whose entry goes before its time. */
  __u64 key = 5;
  struct element* entry = bpf_map_lookup_elem(&in_hash, &key);
  if (!entry) return XDP_DROP;
  bpf_timer_start(&entry->timer, 100000000000ull, 0);
  note(10, bpf_timer_cancel(&entry->timer));
  note(11, bpf_timer_cancel(&entry->timer));
  note(12, bpf_timer_start(&entry->timer, 1, 0));
  key = 100;
  struct element fresh = {};
  bpf_map_update_elem(&in_hash, &key, &fresh, BPF_ANY);
  entry = bpf_map_lookup_elem(&in_hash, &key);
  if (!entry) return XDP_DROP;
  bpf_timer_init(&entry->timer, &in_hash, CLOCK_MONOTONIC);
  bpf_timer_set_callback(&entry->timer, on_hash_timer);
  bpf_timer_start(&entry->timer, 50000000, 0);
  bpf_map_delete_elem(&in_hash, &key);
  bpf_map_update_elem(&in_hash, &key, &fresh, BPF_ANY);
  return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
