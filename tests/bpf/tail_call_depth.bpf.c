/* Tail calls out of functions, as deep as Linux lets them go: each leaves the frames of its callers
 * standing. All of a run share the limit of 33, however its calls branch. What each level adds on
 * the way back is told by maps and return codes. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define SLOTS(name, ...)                   \
  struct {                                 \
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
    __uint(max_entries, 4);                \
    __uint(key_size, 4);                   \
    __array(values, int(void*));           \
  } name SEC(".maps") = {.values = {__VA_ARGS__}}

int deep(struct xdp_md* context);
int branching(struct xdp_md* context);
int left(struct xdp_md* context);
int right(struct xdp_md* context);
int looping(struct xdp_md* context);
int wide_stack(struct xdp_md* context);
int summing(struct xdp_md* context);

SLOTS(to_deep, [0] = (void*)&deep);
SLOTS(to_branching, [0] = (void*)&branching);
SLOTS(to_sides, [0] = (void*)&left, [2] = (void*)&right);
SLOTS(to_looping, [1] = (void*)&looping);
SLOTS(to_wide_stack, [3] = (void*)&wide_stack);
SLOTS(to_summing, [0] = (void*)&summing);

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

static __noinline void count(__u32 key, __u64 by) {
  __u64* slot = bpf_map_lookup_elem(&counts, &key);
  if (slot) *slot += by;
}

/* One frame more with each tail call: 34 of the function, one under them. */
static __noinline int go_deeper(struct xdp_md* context) {
  count(0, 1);
  bpf_tail_call(context, &to_deep, 0);
  count(1, 1);
  return 1;
}

SEC("xdp")
int deep(struct xdp_md* context) {
  int below = go_deeper(context);
  count(2, below);
  return below + 1;
}

/* The frames of several functions stand for each tail call. */
static __noinline int third(struct xdp_md* context, __u64 value) {
  volatile __u64 own = value * 3;
  bpf_tail_call(context, &to_wide_stack, 3);
  return own + 1;
}
static __noinline int second(struct xdp_md* context, __u64 value) {
  volatile __u64 own = value * 5;
  int below = third(context, value + 1);
  return own + below;
}
static __noinline int first(struct xdp_md* context, __u64 value) {
  volatile __u64 own = value * 7;
  int below = second(context, value + 1);
  return own + below;
}

SEC("xdp")
int wide_stack(struct xdp_md* context) {
  volatile __u64 own[4] = {1, 2, 3, 4};
  int below = first(context, own[1]);
  count(3, below + own[0] + own[3]);
  return below + own[2];
}

/* Twice from each level: were the limit counted by branch, this would not end. */
static __noinline int branch(struct xdp_md* context) {
  bpf_tail_call(context, &to_branching, 0);
  count(4, 1);
  return 1;
}

SEC("xdp")
int branching(struct xdp_md* context) {
  count(5, 1);
  int sum = branch(context);
  count(6, sum);
  sum += branch(context);
  count(7, sum);
  return sum;
}

static __noinline int go(struct xdp_md* context, __u32 slot) {
  bpf_tail_call(context, &to_sides, slot);
  return 5;
}

SEC("xdp")
int left(struct xdp_md* context) {
  count(8, 1);
  int sum = go(context, 2) + go(context, 0);
  return sum + 1;
}

SEC("xdp")
int right(struct xdp_md* context) {
  count(9, 1);
  return go(context, 0) * 3 + go(context, 1);
}

SEC("xdp")
int looping(struct xdp_md* context) {
  count(10, 1);
  bpf_tail_call(context, &to_looping, 1);
  count(11, 1);
  return XDP_TX;
}

/* The count goes on behind a function that came back from its tail calls. */
static __noinline int through_loop(struct xdp_md* context) {
  bpf_tail_call(context, &to_looping, 1);
  count(12, 1);
  return 7;
}

SEC("xdp")
int twice(struct xdp_md* context) {
  int sum = through_loop(context);
  sum = sum * 100 + through_loop(context);
  count(13, sum);
  bpf_tail_call(context, &to_deep, 0);
  return sum;
}

/* Each program's callbacks are its own, before a tail call, behind it and when it came back. */
static long add_key(void* map, __u32* key, __u64* value, __u64* sum) {
  *sum += *key;
  return 0;
}
static long add_square(void* map, __u32* key, __u64* value, __u64* sum) {
  *sum += *key * *key;
  return 0;
}

SEC("xdp")
int summing(struct xdp_md* context) {
  __u64 sum = 0;
  bpf_for_each_map_elem(&counts, add_square, &sum, 0);
  count(14, sum);
  return sum & 0xff;
}

static __noinline int sum_elsewhere(struct xdp_md* context) {
  bpf_tail_call(context, &to_summing, 0);
  return 1;
}

SEC("xdp")
int summing_around(struct xdp_md* context) {
  __u64 sum = 0;
  bpf_for_each_map_elem(&counts, add_key, &sum, 0);
  sum = sum * 1000 + sum_elsewhere(context);
  bpf_for_each_map_elem(&counts, add_key, &sum, 0);
  count(15, sum);
  bpf_tail_call(context, &to_summing, 0);
  return 1;
}

char LICENSE[] SEC("license") = "GPL";
