/* Callbacks: bpf_loop and bpf_for_each_map_elem, stopped early and not, nested, with flags that
 * Linux refuses, over arrays and hashes whose order does not matter. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, __u64);
} slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
} per_cpu SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 64);
  __type(key, __u32);
  __type(value, __u64);
} seen SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, __u64);
} answers SEC(".maps");

struct work {
  __u64 sum;
  __u32 stop_at;
  __u32 calls;
};

static __noinline void note(__u32 key, __u64 value) {
  __u64* slot = bpf_map_lookup_elem(&answers, &key);
  if (slot) *slot = value;
}

static int add_index(__u32 index, struct work* work) {
  work->sum += index * 3 + 1;
  work->calls++;
  return index == work->stop_at;
}

static int nested(__u32 index, struct work* work) {
  struct work inner = {.stop_at = 3};
  bpf_loop(index & 7, add_index, &inner, 0);
  work->sum += inner.sum;
  work->calls += inner.calls;
  return 0;
}

static int change_slot(struct bpf_map* map, __u32* key, __u64* value, struct work* work) {
  *value += *key + 1;
  work->sum += *value;
  work->calls++;
  return *key == work->stop_at;
}

static int forget_even(struct bpf_map* map, __u32* key, __u64* value, struct work* work) {
  __u32 copy = *key;
  work->sum += *value;
  work->calls++;
  if (copy % 2 == 0) bpf_map_delete_elem(&seen, &copy);
  return 0;
}

SEC("xdp")
int loops(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  struct work work = {.stop_at = data[1]};
  long calls = bpf_loop(data[0], add_index, &work, 0);
  note(0, calls);
  note(1, work.sum);
  note(2, bpf_loop((1 << 23) + 1, add_index, &work, 0));
  note(3, bpf_loop(1, add_index, &work, 1));
  struct work outer = {};
  bpf_loop(data[5], nested, &outer, 0);
  note(4, outer.sum);
  note(5, outer.calls);
  return work.sum & 1 ? XDP_PASS : XDP_DROP;
}

SEC("xdp")
int over_maps(struct xdp_md* context) {
  __u8* data = (void*)(long)context->data;
  if ((void*)(data + 14) > (void*)(long)context->data_end) return XDP_ABORTED;
  struct work work = {.stop_at = data[0] & 15};
  note(6, bpf_for_each_map_elem(&slots, change_slot, &work, 0));
  note(7, work.sum);
  struct work cpu = {.stop_at = 100};
  note(8, bpf_for_each_map_elem(&per_cpu, change_slot, &cpu, 0));
  note(9, cpu.sum);
  __u32 key = data[11] & 63;
  __u64 value = data[1];
  bpf_map_update_elem(&seen, &key, &value, BPF_ANY);
  struct work forgotten = {};
  note(10, bpf_for_each_map_elem(&seen, forget_even, &forgotten, 0));
  note(11, forgotten.sum);
  note(12, bpf_for_each_map_elem(&seen, forget_even, &forgotten, 1));
  return forgotten.calls & 1 ? XDP_PASS : XDP_TX;
}

char _license[] SEC("license") = "GPL";
