/* Pointers to the kernel's own objects, as far as packet programs get them: the task that a packet
 * interrupts, what is stored with it, and the cgroups around it. */
#include <linux/bpf.h>

#include "answers.h"

struct task_struct;

struct per_task {
  __u64 number;
};

struct {
  __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct per_task);
} storage SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
  __uint(max_entries, 2);
  __uint(key_size, 4);
  __uint(value_size, 4);
} cgroups SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(max_entries, 2);
  __uint(key_size, 4);
  __uint(value_size, 4);
} counters SEC(".maps");

/* No pointer that a verifier vouches for is NULL. */
SEC("xdp")
int vouched_for(struct xdp_md* xdp) {
  struct task_struct* task = bpf_get_current_task_btf();
  note(0, task != NULL);
  note(1, (long)task == (long)bpf_get_current_task());
  void* registers = (void*)bpf_task_pt_regs(task);
  note(2, registers != NULL);
  note(3, (long)registers == (long)task);
  if (!task || !registers) return XDP_DROP;
  return XDP_PASS;
}

SEC("xdp")
int stored_with_the_task(struct xdp_md* xdp) {
  struct task_struct* task = bpf_get_current_task_btf();
  void* there = bpf_task_storage_get(&storage, task, 0, 0);
  note(8, there == NULL);
  note(9, bpf_task_storage_delete(&storage, task));
  __u64 stack[4] = {1, 2, 3, 4};
  note(10, bpf_get_task_stack(task, stack, sizeof stack, 1 << 20));
  note(11, stack[0] + stack[1] + stack[2] + stack[3]);
  return there ? XDP_DROP : XDP_PASS;
}

static __always_inline void ask_cgroups(__u32 first) {
  note(first, bpf_current_task_under_cgroup(&cgroups, 0));
  note(first + 1, bpf_current_task_under_cgroup(&cgroups, 2));
  note(first + 2, bpf_get_current_cgroup_id() != 0);
  note(first + 3, bpf_get_current_ancestor_cgroup_id(0));
  note(first + 4, bpf_get_current_ancestor_cgroup_id(100));
  note(first + 5, bpf_get_current_ancestor_cgroup_id(-1));
  struct bpf_pidns_info process = {1, 2};
  note(first + 6, bpf_get_ns_current_pid_tgid(1, 1, &process, sizeof process));
  note(first + 7, process.pid + process.tgid);
}

static __always_inline void ask_counters(__u32 first) {
  struct bpf_perf_event_value value = {1, 2, 3};
  note(first, bpf_perf_event_read(&counters, BPF_F_CURRENT_CPU));
  note(first + 1, bpf_perf_event_read(&counters, 0));
  note(first + 2, bpf_perf_event_read(&counters, 2));
  note(first + 3, bpf_perf_event_read(&counters, 1ull << 32));
  note(first + 4, bpf_perf_event_read_value(&counters, 0, &value, sizeof value));
  note(first + 5, value.counter + value.enabled + value.running);
  value.counter = 5;
  note(first + 6, bpf_perf_event_read_value(&counters, 2, &value, sizeof value));
  note(first + 7, value.counter);
  value.counter = 6;
  note(first + 8, bpf_perf_event_read_value(&counters, 0, &value, 8));
  note(first + 9, value.counter);
  note(first + 10, bpf_perf_event_read_value(&counters, 1ull << 32, &value, sizeof value));
}

SEC("xdp")
int xdp_asks(struct xdp_md* xdp) {
  ask_cgroups(24);
  ask_counters(32);
  return XDP_PASS;
}

SEC("tc")
int tc_asks(struct __sk_buff* skb) {
  ask_cgroups(48);
  ask_counters(56);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
