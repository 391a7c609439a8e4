/* Objects that programs make: kept in lists and trees of a map's value, of another object and of
 * global data, stashed in arrays and hashes, counted by those that own them. Each packet adds,
 * takes or looks up something, as its first byte says, and what was there is answered. */
#include "answers.h"

#define __kptr __attribute__((btf_type_tag("kptr")))
#define __contains(TYPE, NODE) __attribute__((btf_decl_tag("contains:" #TYPE ":" #NODE)))
#define make(TYPE) ((TYPE*)bpf_obj_new_impl(bpf_core_type_id_local(TYPE), NULL))
#define drop(OBJECT) bpf_obj_drop_impl(OBJECT, NULL)
#define hidden(NAME) SEC(".data." #NAME) __hidden __attribute__((aligned(8)))

#include <bpf/bpf_core_read.h>

/* As newer versions of linux/bpf.h have them. */
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
struct bpf_refcount {
  __u32 opaque[1];
} __attribute__((aligned(4)));

extern void* bpf_obj_new_impl(__u64 type, void* meta) __ksym;
extern void bpf_obj_drop_impl(void* object, void* meta) __ksym;
extern void* bpf_refcount_acquire_impl(void* object, void* meta) __ksym;
extern int bpf_list_push_front_impl(struct bpf_list_head* head, struct bpf_list_node* node,
                                    void* meta, __u64 offset) __ksym;
extern int bpf_list_push_back_impl(struct bpf_list_head* head, struct bpf_list_node* node,
                                   void* meta, __u64 offset) __ksym;
extern struct bpf_list_node* bpf_list_pop_front(struct bpf_list_head* head) __ksym;
extern struct bpf_list_node* bpf_list_pop_back(struct bpf_list_head* head) __ksym;
extern struct bpf_list_node* bpf_list_front(struct bpf_list_head* head) __ksym;
extern struct bpf_list_node* bpf_list_back(struct bpf_list_head* head) __ksym;
extern int bpf_rbtree_add_impl(struct bpf_rb_root* root, struct bpf_rb_node* node,
                               _Bool(less)(struct bpf_rb_node*, const struct bpf_rb_node*),
                               void* meta, __u64 offset) __ksym;
extern struct bpf_rb_node* bpf_rbtree_remove(struct bpf_rb_root* root,
                                             struct bpf_rb_node* node) __ksym;
extern struct bpf_rb_node* bpf_rbtree_first(struct bpf_rb_root* root) __ksym;
extern struct bpf_rb_node* bpf_rbtree_root(struct bpf_rb_root* root) __ksym;
extern struct bpf_rb_node* bpf_rbtree_left(struct bpf_rb_root* root,
                                           struct bpf_rb_node* node) __ksym;
extern struct bpf_rb_node* bpf_rbtree_right(struct bpf_rb_root* root,
                                            struct bpf_rb_node* node) __ksym;

struct item {
  __u64 number;
  struct bpf_list_node node;
};

/* Holds a list of its own. */
struct shelf {
  __u64 number;
  struct bpf_spin_lock lock;
  struct bpf_list_head items __contains(item, node);
  struct bpf_list_node node;
};

struct room {
  struct bpf_spin_lock lock;
  __u32 count;
  struct bpf_list_head shelves __contains(shelf, node);
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 2);
  __type(key, __u32);
  __type(value, struct room);
} rooms SEC(".maps");

/* In a tree and in a list at once, and stashed. */
struct shared {
  __u64 key;
  __u64 data;
  struct bpf_rb_node in_tree;
  struct bpf_list_node in_list;
  struct bpf_refcount owners;
};

struct stash {
  __u64 before;
  struct shared __kptr* kept;
  __u64 behind;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, struct stash);
} by_index SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, struct stash);
} by_key SEC(".maps");

hidden(list) struct bpf_spin_lock list_lock;
hidden(list) struct bpf_list_head items __contains(item, node);
hidden(tree) struct bpf_spin_lock tree_lock;
hidden(tree) struct bpf_rb_root tree __contains(shared, in_tree);
hidden(tree) struct bpf_list_head list __contains(shared, in_list);

struct shared* tells_of_the_type;
struct shelf* tells_of_shelves;

static __always_inline __u8 byte_at(struct xdp_md* xdp, int index) {
  __u8* data = (__u8*)(long)xdp->data;
  return data + index + 1 <= (__u8*)(long)xdp->data_end ? data[index] : 0;
}

static _Bool less(struct bpf_rb_node* a, const struct bpf_rb_node* b) {
  return container_of(a, struct shared, in_tree)->key <
         container_of(b, struct shared, in_tree)->key;
}

/* A list in global data that grows and shrinks at both ends. */
SEC("xdp")
int keep_in_list(struct xdp_md* xdp) {
  __u8 what = byte_at(xdp, 0);
  if (what & 1) {
    struct item* item = make(struct item);
    if (!item) return XDP_ABORTED;
    item->number = what;
    bpf_spin_lock(&list_lock);
    if (what & 2) {
      bpf_list_push_front_impl(&items, &item->node, NULL, 0);
    } else {
      bpf_list_push_back_impl(&items, &item->node, NULL, 0);
    }
    bpf_spin_unlock(&list_lock);
    return XDP_PASS;
  }
  __u64 first = 0, last = 0;
  bpf_spin_lock(&list_lock);
  struct bpf_list_node* node = bpf_list_front(&items);
  if (node) first = container_of(node, struct item, node)->number;
  node = bpf_list_back(&items);
  if (node) last = container_of(node, struct item, node)->number;
  if (what & 2) {
    node = bpf_list_pop_front(&items);
  } else {
    node = bpf_list_pop_back(&items);
  }
  bpf_spin_unlock(&list_lock);
  note(0, first);
  note(1, last);
  if (!node) return XDP_DROP;
  struct item* item = container_of(node, struct item, node);
  note(2, item->number);
  drop(item);
  return XDP_TX;
}

/* Lists in objects in a list of a map's value. */
SEC("xdp")
int keep_on_shelves(struct xdp_md* xdp) {
  __u8 what = byte_at(xdp, 0);
  __u32 key = what >> 7;
  struct room* room = bpf_map_lookup_elem(&rooms, &key);
  if (!room) return XDP_ABORTED;
  struct bpf_list_node* node;
  struct shelf* shelf = NULL;
  bpf_spin_lock(&room->lock);
  node = bpf_list_pop_front(&room->shelves);
  bpf_spin_unlock(&room->lock);
  if (node && (what & 3) == 3) {
    /* With all that is on it. */
    drop(container_of(node, struct shelf, node));
    return XDP_DROP;
  }
  if (node) {
    shelf = container_of(node, struct shelf, node);
  } else {
    shelf = make(struct shelf);
    if (!shelf) return XDP_ABORTED;
    shelf->number = what;
  }
  __u64 taken = 0;
  if (what & 1) {
    struct item* item = make(struct item);
    if (!item) {
      drop(shelf);
      return XDP_ABORTED;
    }
    item->number = what;
    bpf_spin_lock(&shelf->lock);
    bpf_list_push_back_impl(&shelf->items, &item->node, NULL, 0);
    bpf_spin_unlock(&shelf->lock);
  } else {
    bpf_spin_lock(&shelf->lock);
    node = bpf_list_pop_front(&shelf->items);
    bpf_spin_unlock(&shelf->lock);
    if (node) {
      struct item* item = container_of(node, struct item, node);
      taken = item->number + 1;
      drop(item);
    }
  }
  note(3, shelf->number);
  note(4, taken);
  bpf_spin_lock(&room->lock);
  room->count++;
  bpf_list_push_back_impl(&room->shelves, &shelf->node, NULL, 0);
  bpf_spin_unlock(&room->lock);
  return XDP_PASS;
}

/* A tree and a list of the same objects, in whatever order they come and go. */
SEC("xdp")
int keep_in_tree(struct xdp_md* xdp) {
  __u8 what = byte_at(xdp, 0);
  struct bpf_rb_node* node;
  if (what % 3 != 0) {
    struct shared* one = make(struct shared);
    if (!one) return XDP_ABORTED;
    one->key = (what * 37) & 63;
    one->data = what;
    struct shared* other = bpf_refcount_acquire_impl(one, NULL);
    bpf_spin_lock(&tree_lock);
    bpf_rbtree_add_impl(&tree, &one->in_tree, less, NULL, 0);
    bpf_spin_unlock(&tree_lock);
    if (!other) return XDP_ABORTED;
    if (what & 8) {
      bpf_spin_lock(&tree_lock);
      int twice = bpf_list_push_back_impl(&list, &other->in_list, NULL, 0);
      bpf_spin_unlock(&tree_lock);
      note(5, twice);
      return XDP_PASS;
    }
    /* It is in the tree already. */
    bpf_spin_lock(&tree_lock);
    int added = bpf_rbtree_add_impl(&tree, &other->in_tree, less, NULL, 0);
    bpf_spin_unlock(&tree_lock);
    note(6, added);
    return XDP_PASS;
  }
  __u64 first = 0, top = 0, left = 0, right = 0;
  struct bpf_list_node* listed = NULL;
  bpf_spin_lock(&tree_lock);
  node = bpf_rbtree_root(&tree);
  if (node) {
    top = container_of(node, struct shared, in_tree)->key + 1;
    struct bpf_rb_node* child = bpf_rbtree_left(&tree, node);
    if (child) left = container_of(child, struct shared, in_tree)->key + 1;
    child = bpf_rbtree_right(&tree, node);
    if (child) right = container_of(child, struct shared, in_tree)->key + 1;
  }
  if (what & 16) node = bpf_rbtree_first(&tree);
  if (node) {
    first = container_of(node, struct shared, in_tree)->key + 1;
    node = bpf_rbtree_remove(&tree, node);
  }
  if (what & 32) listed = bpf_list_pop_front(&list);
  bpf_spin_unlock(&tree_lock);
  note(7, top);
  note(8, left);
  note(9, right);
  note(10, first);
  if (listed) {
    struct shared* other = container_of(listed, struct shared, in_list);
    note(11, other->data);
    drop(other);
  }
  if (!node) return XDP_DROP;
  struct shared* one = container_of(node, struct shared, in_tree);
  note(12, one->data);
  drop(one);
  return XDP_TX;
}

static __always_inline int exchange(struct stash* stash, __u8 what) {
  struct shared* one = NULL;
  if (what & 1) {
    one = make(struct shared);
    if (!one) return XDP_ABORTED;
    one->data = what;
  }
  stash->before++;
  one = bpf_kptr_xchg(&stash->kept, one);
  stash->behind += 2;
  if (!one) return XDP_DROP;
  note(13, one->data);
  drop(one);
  return XDP_TX;
}

SEC("xdp")
int stash_in_array(struct xdp_md* xdp) {
  __u8 what = byte_at(xdp, 0);
  __u32 key = what & 3;
  if ((what & 0xf0) == 0xf0) {
    struct stash empty = {.before = what};
    return bpf_map_update_elem(&by_index, &key, &empty, BPF_ANY) ? XDP_ABORTED : XDP_PASS;
  }
  struct stash* stash = bpf_map_lookup_elem(&by_index, &key);
  return stash ? exchange(stash, what >> 2) : XDP_ABORTED;
}

SEC("xdp")
int stash_in_hash(struct xdp_md* xdp) {
  __u8 what = byte_at(xdp, 0);
  __u32 key = what & 7;
  if ((what & 0xc0) == 0xc0) {
    note(14, bpf_map_delete_elem(&by_key, &key));
    return XDP_PASS;
  }
  struct stash* stash = bpf_map_lookup_elem(&by_key, &key);
  if (!stash) {
    struct stash empty = {.behind = what};
    bpf_map_update_elem(&by_key, &key, &empty, BPF_ANY);
    stash = bpf_map_lookup_elem(&by_key, &key);
    if (!stash) return XDP_ABORTED;
  }
  return exchange(stash, what >> 3);
}

/* What is stashed, read and owned for a time without being taken out. */
SEC("xdp")
int look_at_stash(struct xdp_md* xdp) {
  __u32 key = byte_at(xdp, 0) & 3;
  struct stash* stash = bpf_map_lookup_elem(&by_index, &key);
  if (!stash) return XDP_ABORTED;
  struct shared* kept = stash->kept;
  if (!kept) return XDP_DROP;
  note(15, kept->data);
  struct shared* one = bpf_refcount_acquire_impl(kept, NULL);
  if (!one) return XDP_DROP;
  one->data++;
  note(16, one->data);
  drop(one);
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
