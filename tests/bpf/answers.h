/* What a test program found out, left where the comparison with the kernel looks: an array of
 * numbers. Included first by the programs that use it. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 128);
  __type(key, __u32);
  __type(value, __s64);
} answers SEC(".maps");

static __always_inline void note(__u32 key, __s64 value) {
  __s64* slot = bpf_map_lookup_elem(&answers, &key);
  if (slot) *slot = value;
}
