// Common mistakes, a program each, which no verifier lets through. A comment in the line that is at
// fault, "refused: NAME", says where: tests/sim/verify_words_test.cpp finds the line by it. Where a
// program NAME_repaired stands behind, it does what the suggestion says.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>

#include <bpf/bpf_helpers.h>

struct counter {
  __u64 packets;
  __u64 bytes;
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, struct counter);
} counters SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64[8]);
} table SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u64);
  __uint(map_flags, BPF_F_RDONLY_PROG);
} settings SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} records SEC(".maps");

struct guarded {
  struct bpf_spin_lock lock;
  __u32 count;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct guarded);
} guards SEC(".maps");

static void* start_of(struct xdp_md* ctx) { return (void*)(long)ctx->data; }
static void* end_of(struct xdp_md* ctx) { return (void*)(long)ctx->data_end; }

SEC("xdp")
int no_bounds_check(struct xdp_md* ctx) {
  struct ethhdr* eth = start_of(ctx);
  return eth->h_proto == 8 ? XDP_DROP : XDP_PASS;  // refused: no_bounds_check
}

SEC("xdp")
int no_bounds_check_repaired(struct xdp_md* ctx) {
  struct ethhdr* eth = start_of(ctx);
  if ((void*)eth + 14 > end_of(ctx)) return XDP_PASS;
  return eth->h_proto == 8 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int off_by_one(struct xdp_md* ctx) {
  __u8* bytes = start_of(ctx);
  if (bytes + 20 > (__u8*)end_of(ctx)) return XDP_PASS;  // proven: off_by_one
  return bytes[20] == 1 ? XDP_DROP : XDP_PASS;  // refused: off_by_one
}

SEC("xdp")
int off_by_one_repaired(struct xdp_md* ctx) {
  __u8* bytes = start_of(ctx);
  if (bytes + 21 > (__u8*)end_of(ctx)) return XDP_PASS;
  return bytes[20] == 1 ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int no_null_check(struct xdp_md* ctx) {
  __u32 key = bpf_get_prandom_u32();
  struct counter* counter = bpf_map_lookup_elem(&counters, &key);  // made: no_null_check
  counter->packets++;  // refused: no_null_check
  return XDP_PASS;
}

SEC("xdp")
int no_null_check_repaired(struct xdp_md* ctx) {
  __u32 key = bpf_get_prandom_u32();
  struct counter* counter = bpf_map_lookup_elem(&counters, &key);
  if (!counter) return XDP_PASS;
  counter->packets++;
  return XDP_PASS;
}

SEC("xdp")
int endless_loop(struct xdp_md* ctx) {
  volatile int stop = 0;
  while (stop == 0) {  // refused: endless_loop
    asm volatile("" ::: "memory");
  }
  return XDP_PASS;
}

SEC("xdp")
int too_many_turns(struct xdp_md* ctx) {
  __u64 sum = 0;
  for (__u64 i = 0; i < 1000000; i++) {  // loop: too_many_turns
    asm volatile("%0 += %1" : "+r"(sum) : "r"(i));
  }
  return sum & 1;
}

SEC("xdp")
__attribute__((naked)) int unaligned_key(void) {
  asm volatile("r1 = 7;"  // refused: unaligned_key
               "*(u64 *)(r10 - 12) = r1;"
               "r0 = 2;"
               "exit;" ::: "memory");
}

SEC("xdp")
__attribute__((naked)) int uninitialised(void) {
  asm volatile("r0 = r7;"  // refused: uninitialised
               "exit;" :::);
}

SEC("xdp")
__attribute__((naked)) int lost_at_call(void) {
  asm volatile("call %[ns];"  // refused: lost_at_call
               "r0 = *(u32 *)(r1 + 0);"
               "r0 = 2;"
               "exit;" ::[ns] "i"(BPF_FUNC_ktime_get_ns)
               : "memory");
}

static long returns_two(__u32 index, void* data) {
  return 2;  // refused: wrong_return
}

SEC("xdp")
int wrong_return(struct xdp_md* ctx) {
  bpf_loop(4, returns_two, 0, 0);
  return XDP_PASS;
}

SEC("xdp")
int writes_read_only(struct xdp_md* ctx) {
  __u32 key = 0;
  __u64* setting = bpf_map_lookup_elem(&settings, &key);
  if (!setting) return XDP_PASS;
  *setting = 1;  // refused: writes_read_only
  return XDP_PASS;
}

SEC("xdp")
int leaks_record(struct xdp_md* ctx) {
  __u64* record = bpf_ringbuf_reserve(&records, sizeof *record, 0);  // made: leaks_record
  if (!record) return XDP_PASS;
  *record = ctx->ingress_ifindex;
  if (*record == 2) return XDP_DROP;
  bpf_ringbuf_submit(record, 0);
  return XDP_PASS;
}  // refused: leaks_record

SEC("xdp")
int holds_lock(struct xdp_md* ctx) {
  __u32 key = 0;
  struct guarded* guarded = bpf_map_lookup_elem(&guards, &key);
  if (!guarded) return XDP_PASS;
  bpf_spin_lock(&guarded->lock);  // made: holds_lock
  guarded->count++;
  return XDP_PASS;
}  // refused: holds_lock

SEC("xdp")
int helper_of_others(struct xdp_md* ctx) {
  return bpf_skb_pull_data((void*)ctx, 4);  // refused: helper_of_others
}

SEC("xdp")
__attribute__((naked)) int below_stack(void) {
  asm volatile("r0 = 2;"  // refused: below_stack
               "*(u64 *)(r10 - 520) = r0;"
               "exit;" ::: "memory");
}

SEC("xdp")
int index_into_value(struct xdp_md* ctx) {
  __u32 key = 0;
  __u64* value = bpf_map_lookup_elem(&table, &key);
  if (!value) return XDP_PASS;
  __u32 index = bpf_get_prandom_u32();
  return value[index] & 1;  // refused: index_into_value
}

SEC("xdp")
int index_into_value_repaired(struct xdp_md* ctx) {
  __u32 key = 0;
  __u64* value = bpf_map_lookup_elem(&table, &key);
  if (!value) return XDP_PASS;
  __u32 index = bpf_get_prandom_u32();
  return value[index & 7] & 1;
}

SEC("xdp")
int void_after_move(struct xdp_md* ctx) {
  __u8* bytes = start_of(ctx);
  if (bytes + 20 > (__u8*)end_of(ctx)) return XDP_PASS;
  if (bpf_xdp_adjust_head(ctx, 4)) return XDP_PASS;  // made: void_after_move
  return bytes[0] == 1 ? XDP_DROP : XDP_PASS;  // refused: void_after_move
}

SEC("xdp")
int part_of_pointer(struct xdp_md* ctx) {
  return *(volatile __u16*)&ctx->data;  // refused: part_of_pointer
}

SEC("xdp")
int takes_two_branches(struct xdp_md* ctx) {
  __u8* bytes = start_of(ctx);
  if (bytes + 4 > (__u8*)end_of(ctx)) return XDP_PASS;  // first: takes_two_branches
  if (bytes[0] != 7) return XDP_PASS;  // second: takes_two_branches
  return bytes[9] == 1 ? XDP_DROP : XDP_PASS;  // refused: takes_two_branches
}

char _license[] SEC("license") = "GPL";
