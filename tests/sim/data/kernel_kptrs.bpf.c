/* Pointers in a map to objects of the kernel that it counts the owners of: tasks. Programs `fine_*`
 * are accepted, the others rejected. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define __kptr __attribute__((btf_type_tag("kptr")))

struct task_struct {
  int pid;
} __attribute__((preserve_access_index));

struct cgroup {
  int level;
} __attribute__((preserve_access_index));

extern struct task_struct* bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct* task) __ksym;
extern struct cgroup* bpf_cgroup_from_id(__u64 id) __ksym;
extern void bpf_cgroup_release(struct cgroup* group) __ksym;

struct kept {
  struct task_struct __kptr* task;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct kept);
} keeps SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u64);
} numbers SEC(".maps");

struct counter {
  __u64 number;
};
struct counter* tells_of_counters;

struct counted {
  struct counter __attribute__((btf_type_tag("percpu_kptr"))) * counters;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct counted);
} counts SEC(".maps");

extern void bpf_obj_drop_impl(void* object, void* meta) __ksym;

int seen;

static __always_inline struct kept* keep(void) {
  __u32 key = 0;
  return bpf_map_lookup_elem(&keeps, &key);
}

SEC("tc")
int fine_exchange(struct __sk_buff* skb) {
  struct kept* kept = keep();
  struct task_struct* task = bpf_task_from_pid(1);
  if (!task) return 0;
  if (kept) task = bpf_kptr_xchg(&kept->task, task);
  if (task) bpf_task_release(task);
  return 0;
}

SEC("tc")
int fine_read(struct __sk_buff* skb) {
  struct kept* kept = keep();
  if (!kept) return 0;
  struct task_struct* task = kept->task;
  if (task) seen = task->pid;
  return 0;
}

__noinline int level_of(struct cgroup* group __attribute__((btf_decl_tag("arg:trusted")))) {
  return group->level;
}

SEC("tc")
int fine_trusted_parameter(struct __sk_buff* skb) {
  struct cgroup* group = bpf_cgroup_from_id(1);
  if (!group) return 0;
  seen = level_of(group);
  bpf_cgroup_release(group);
  return 0;
}

SEC("tc")
int leaks_what_was_kept(struct __sk_buff* skb) {
  struct kept* kept = keep();
  if (kept) bpf_kptr_xchg(&kept->task, 0);
  return 0;
}

SEC("tc")
int keeps_what_it_does_not_own(struct __sk_buff* skb) {
  struct kept* kept = keep();
  if (!kept) return 0;
  struct task_struct* task = kept->task;
  if (!task) return 0;
  task = bpf_kptr_xchg(&kept->task, task);
  if (task) bpf_task_release(task);
  return 0;
}

SEC("tc")
int keeps_another_type(struct __sk_buff* skb) {
  struct kept* kept = keep();
  struct cgroup* group = bpf_cgroup_from_id(1);
  if (!kept || !group) return 0;
  struct task_struct* task = bpf_kptr_xchg(&kept->task, (void*)group);
  if (task) bpf_task_release(task);
  return 0;
}

SEC("tc")
int reads_without_a_look(struct __sk_buff* skb) {
  struct kept* kept = keep();
  if (!kept) return 0;
  seen = kept->task->pid;
  return 0;
}

SEC("tc")
int releases_what_is_kept(struct __sk_buff* skb) {
  struct kept* kept = keep();
  if (!kept) return 0;
  struct task_struct* task = kept->task;
  if (task) bpf_task_release(task);
  return 0;
}

/* A pointer that is vouched for may be NULL all the same, and then so is what equals it. */
SEC("tc")
int takes_what_equals_a_task_for_there(struct __sk_buff* skb) {
  __u32 key = 0;
  __u64* number = bpf_map_lookup_elem(&numbers, &key);
  if ((void*)number == (void*)bpf_get_current_task_btf()) *number = 1;
  return 0;
}

SEC("tc")
int drops_the_counters_of_all_cpus_as_one(struct __sk_buff* skb) {
  __u32 key = 0;
  struct counted* counted = bpf_map_lookup_elem(&counts, &key);
  if (!counted) return 0;
  struct counter* counters = bpf_kptr_xchg(&counted->counters, 0);
  if (counters) bpf_obj_drop_impl(counters, 0);
  return 0;
}

char LICENSE[] SEC("license") = "GPL";
