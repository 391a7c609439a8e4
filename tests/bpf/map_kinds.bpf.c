/* Lookup, update with each flag, and delete for every kind of map, with keys and values from the
 * packet. Each program returns what its helpers answered, folded into one number, and leaves the
 * answers in `answers`; results depend on the packets seen before. */
#include "answers.h"

#define ENTRIES 8

struct value {
  __u64 packets;
  __u32 last;
  __u8 bytes[5]; /* a size that is no multiple of 8: per-CPU maps round it up for user space */
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ENTRIES);
  __type(key, __u32);
  __type(value, struct value);
} in_array SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, ENTRIES);
  __type(key, __u32);
  __type(value, struct value);
} in_percpu_array SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, ENTRIES);
  __type(key, __u32);
  __type(value, struct value);
} in_hash SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(max_entries, ENTRIES);
  __type(key, __u32);
  __type(value, struct value);
} in_percpu_hash SEC(".maps");

struct prefix {
  __u32 length; /* bits */
  __u8 bytes[4];
};

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, ENTRIES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct prefix);
  __type(value, struct value);
} in_lpm_trie SEC(".maps");

/* All operations on one map, in an order that the low bits of the selector vary. */
static __always_inline int exercise(void* map, const void* key, const __u8* bytes, __u8 selector) {
  struct value fresh;
  /* Its padding too, which user space sees: the stack holds what was there before. */
  __builtin_memset(&fresh, 0, sizeof(fresh));
  fresh.packets = 1;
  fresh.last = selector;
  for (int i = 0; i < 5; i++) fresh.bytes[i] = bytes[i];

  struct value* found = bpf_map_lookup_elem(map, key);
  note(0, found ? (__s64)found->packets : -1);
  if (found) {
    found->packets += 1;
    found->last = selector;
  }
  note(1, bpf_map_update_elem(map, key, &fresh, selector & 3));
  if (selector & 4) note(2, bpf_map_delete_elem(map, key));
  if (selector & 8) note(3, bpf_map_update_elem(map, key, &fresh, BPF_NOEXIST));
  if (selector & 16) note(4, bpf_map_delete_elem(map, key));
  found = bpf_map_lookup_elem(map, key);
  note(5, found ? found->bytes[4] + (__s64)found->packets * 256 : -1);
  return found ? XDP_PASS : XDP_DROP;
}

/* The key is 0 to 15: the upper half is out of an array's range and overfills a hash. */
#define EXERCISE(NAME, MAP)                                                      \
  SEC("xdp")                                                                     \
  int NAME(struct xdp_md* context) {                                             \
    __u8* data = (void*)(long)context->data;                                     \
    if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED; \
    __u32 key = data[5] & 15;                                                    \
    return exercise(&MAP, &key, data, data[11]);                                 \
  }

EXERCISE(use_array, in_array)
EXERCISE(use_percpu_array, in_percpu_array)
EXERCISE(use_hash, in_hash)
EXERCISE(use_percpu_hash, in_percpu_hash)

/* Prefixes of 0 to 39 bits, so that some are longer than the key has bits; then a lookup of the
 * whole key. */
SEC("xdp")
int use_lpm_trie(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  struct prefix key = {.length = data[4] % 40};
  for (int i = 0; i < 4; i++) key.bytes[i] = data[i];
  __u8 bytes[5];
  for (int i = 0; i < 5; i++) bytes[i] = data[i];
  int verdict = exercise(&in_lpm_trie, &key, bytes, data[11]);
  key.length = 32;
  struct value* found = bpf_map_lookup_elem(&in_lpm_trie, &key);
  note(6, found ? (__s64)found->packets : -1);
  return verdict;
}

char LICENSE[] SEC("license") = "GPL";
