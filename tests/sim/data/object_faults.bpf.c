/* Objects that programs make, used as they must not be: each program is refused, but for "fine". */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct bpf_list_head {
  __u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_list_node {
  __u64 opaque[3];
} __attribute__((aligned(8)));
struct bpf_rb_root {
  __u64 opaque[2];
} __attribute__((aligned(8)));
struct bpf_rb_node {
  __u64 opaque[4];
} __attribute__((aligned(8)));

#define __kptr __attribute__((btf_type_tag("kptr")))
#define __contains(TYPE, NODE) __attribute__((btf_decl_tag("contains:" #TYPE ":" #NODE)))
#define new(TYPE) ((TYPE*)bpf_obj_new_impl(bpf_core_type_id_local(TYPE), NULL))
#define drop(OBJECT) bpf_obj_drop_impl(OBJECT, NULL)

extern void* bpf_obj_new_impl(__u64 type, void* meta) __ksym;
extern void bpf_obj_drop_impl(void* object, void* meta) __ksym;
extern int bpf_list_push_front_impl(struct bpf_list_head* head, struct bpf_list_node* node,
                                    void* meta, __u64 offset) __ksym;
extern struct bpf_list_node* bpf_list_pop_front(struct bpf_list_head* head) __ksym;
extern int bpf_rbtree_add_impl(struct bpf_rb_root* root, struct bpf_rb_node* node,
                               _Bool(less)(struct bpf_rb_node*, const struct bpf_rb_node*),
                               void* meta, __u64 offset) __ksym;
extern struct bpf_rb_node* bpf_rbtree_remove(struct bpf_rb_root* root,
                                             struct bpf_rb_node* node) __ksym;
extern struct bpf_rb_node* bpf_rbtree_first(struct bpf_rb_root* root) __ksym;

struct item {
  __u64 number;
  struct bpf_list_node node;
  __u32 half;
};

struct leaf {
  __u64 number;
  struct bpf_rb_node node;
};

struct tailed {
  struct bpf_list_node node;
  char tail[];
};

struct stash {
  struct item __kptr* kept;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct stash);
} stashes SEC(".maps");

#define hidden(NAME) SEC(".data." #NAME) __hidden __attribute__((aligned(8)))
hidden(one) struct bpf_spin_lock lock;
hidden(one) struct bpf_list_head items __contains(item, node);
hidden(one) struct bpf_rb_root tree __contains(leaf, node);
hidden(two) struct bpf_spin_lock other_lock;

struct item* tells_of_items;

static _Bool less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return container_of(a, struct leaf, node)->number < container_of(b, struct leaf, node)->number;
}

static _Bool less_and_unlock(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  bpf_spin_unlock(&lock);
  return 0;
}

static _Bool less_and_remove(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  bpf_rbtree_remove(&tree, a);
  return 0;
}

SEC("xdp")
int fine(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  bpf_spin_lock(&lock);
  bpf_list_push_front_impl(&items, &item->node, NULL, 0);
  item->number = 1;
  bpf_spin_unlock(&lock);
  return 1;
}

SEC("xdp")
int not_dropped(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  return item ? 1 : 0;
}

SEC("xdp")
int maybe_null(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  drop(item);
  return 1;
}

SEC("xdp")
int dropped_twice(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  drop(item);
  drop(item);
  return 1;
}

SEC("xdp")
int dropped_inside(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  drop(&item->node);
  return 1;
}

SEC("xdp")
int used_after_drop(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  drop(item);
  return item->number;
}

SEC("xdp")
int writes_node(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  *(volatile __u64*)&item->node = 1;
  drop(item);
  return 1;
}

SEC("xdp")
int reads_past_member(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  __u64 read = *(volatile __u64*)&item->half;
  drop(item);
  return read;
}

SEC("xdp")
int reads_past_object(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  __u64 read = ((volatile __u64*)item)[5];
  drop(item);
  return read;
}

SEC("xdp")
int writes_tail(struct xdp_md* xdp) {
  struct tailed* tailed = new (struct tailed);
  if (!tailed) return 0;
  *(volatile char*)&tailed->tail[4000] = 1;
  drop(tailed);
  return 1;
}

SEC("xdp")
int no_lock(struct xdp_md* xdp) {
  struct bpf_list_node* node = bpf_list_pop_front(&items);
  if (node) drop(container_of(node, struct item, node));
  return 1;
}

SEC("xdp")
int other_lock_held(struct xdp_md* xdp) {
  bpf_spin_lock(&other_lock);
  struct bpf_list_node* node = bpf_list_pop_front(&items);
  bpf_spin_unlock(&other_lock);
  if (node) drop(container_of(node, struct item, node));
  return 1;
}

SEC("xdp")
int pushed_twice(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  bpf_spin_lock(&lock);
  bpf_list_push_front_impl(&items, &item->node, NULL, 0);
  bpf_list_push_front_impl(&items, &item->node, NULL, 0);
  bpf_spin_unlock(&lock);
  return 1;
}

SEC("xdp")
int wrong_type(struct xdp_md* xdp) {
  struct leaf* leaf = new (struct leaf);
  if (!leaf) return 0;
  bpf_spin_lock(&lock);
  bpf_list_push_front_impl(&items, (void*)&leaf->node, NULL, 0);
  bpf_spin_unlock(&lock);
  return 1;
}

SEC("xdp")
int used_after_unlock(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  bpf_spin_lock(&lock);
  bpf_list_push_front_impl(&items, &item->node, NULL, 0);
  bpf_spin_unlock(&lock);
  return item->number;
}

SEC("xdp")
int removed_unadded(struct xdp_md* xdp) {
  struct leaf* leaf = new (struct leaf);
  if (!leaf) return 0;
  struct leaf* other = new (struct leaf);
  if (!other) {
    drop(leaf);
    return 0;
  }
  bpf_spin_lock(&lock);
  bpf_rbtree_add_impl(&tree, &leaf->node, less, NULL, 0);
  struct bpf_rb_node* first = bpf_rbtree_first(&tree);
  bpf_spin_unlock(&lock);
  bpf_spin_lock(&lock);
  if (first) bpf_rbtree_remove(&tree, first);
  bpf_spin_unlock(&lock);
  drop(other);
  return 1;
}

SEC("xdp")
int unlocks_in_callback(struct xdp_md* xdp) {
  struct leaf* leaf = new (struct leaf);
  if (!leaf) return 0;
  bpf_spin_lock(&lock);
  bpf_rbtree_add_impl(&tree, &leaf->node, less_and_unlock, NULL, 0);
  bpf_spin_unlock(&lock);
  return 1;
}

SEC("xdp")
int removes_in_callback(struct xdp_md* xdp) {
  struct leaf* leaf = new (struct leaf);
  if (!leaf) return 0;
  bpf_spin_lock(&lock);
  bpf_rbtree_add_impl(&tree, &leaf->node, less_and_remove, NULL, 0);
  bpf_spin_unlock(&lock);
  return 1;
}

SEC("xdp")
int drops_under_lock(struct xdp_md* xdp) {
  struct item* item = new (struct item);
  if (!item) return 0;
  bpf_spin_lock(&lock);
  drop(item);
  bpf_spin_unlock(&lock);
  return 1;
}

SEC("xdp")
int stashes_wrong_type(struct xdp_md* xdp) {
  __u32 key = 0;
  struct stash* stash = bpf_map_lookup_elem(&stashes, &key);
  if (!stash) return 0;
  struct leaf* leaf = new (struct leaf);
  if (!leaf) return 0;
  leaf = (void*)bpf_kptr_xchg(&stash->kept, leaf);
  if (leaf) drop(leaf);
  return 1;
}

SEC("xdp")
int stashed_and_used(struct xdp_md* xdp) {
  __u32 key = 0;
  struct stash* stash = bpf_map_lookup_elem(&stashes, &key);
  if (!stash) return 0;
  struct item* item = new (struct item);
  if (!item) return 0;
  struct item* old = bpf_kptr_xchg(&stash->kept, item);
  if (old) drop(old);
  return item->number;
}

SEC("xdp")
int unstashed_not_dropped(struct xdp_md* xdp) {
  __u32 key = 0;
  struct stash* stash = bpf_map_lookup_elem(&stashes, &key);
  if (!stash) return 0;
  struct item* old = bpf_kptr_xchg(&stash->kept, NULL);
  return old ? 1 : 2;
}

char _license[] SEC("license") = "GPL";
