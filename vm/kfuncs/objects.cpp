// Objects of programs, and the lists and trees that hold them. Left out: those with a copy for each
// CPU (bpf_percpu_obj_new). Test: tests/bpf/local_objects, compared with Linux.
#include <bpf/btf.h>

#include <array>
#include <cerrno>

#include "vm/btf.h"
#include "vm/graph.h"
#include "vm/kfuncs/rows.h"
#include "vm/local_types.h"
#include "vm/program.h"

namespace xnic::vm {
namespace {

uint64_t address(const uint8_t* memory) { return std::bit_cast<uint64_t>(memory); }

// bpf_obj_new_impl(id of a struct in the program's types, ignored).
uint64_t make(Invocation& run, uint64_t type_id, uint64_t, uint64_t, uint64_t, uint64_t) {
  const Btf* types = run.callbacks->program().spec().btf.get();
  if (types == nullptr || types->local_types() == nullptr) return 0;
  const auto id = static_cast<uint32_t>(type_id);
  const btf_type* type = btf__type_by_id(types->parsed(), id);
  if (type == nullptr || !btf_is_composite(type)) return 0;
  return address(types->local_types()->make(id, type->size));
}

uint64_t drop(Invocation&, uint64_t object, uint64_t, uint64_t, uint64_t, uint64_t) {
  drop_owner(memory_at(object));
  return 0;
}

// Programs acquire no object of the kernel's test type: kptrs to it are always NULL.
uint64_t nothing(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) { return 0; }

uint64_t acquire(Invocation&, uint64_t object, uint64_t, uint64_t, uint64_t, uint64_t) {
  return add_owner(memory_at(object)) ? object : 0;
}

// A node that is in a collection already is given up by who wanted to add it.
uint64_t added(bool is_added, uint64_t node) {
  if (is_added) return 0;
  drop_owner(object_of(memory_at(node)));
  return int_result(-EINVAL);
}

uint64_t push_front(Invocation&, uint64_t head, uint64_t node, uint64_t, uint64_t, uint64_t) {
  return added(push_to_list(memory_at(head), memory_at(node), true), node);
}
uint64_t push_back(Invocation&, uint64_t head, uint64_t node, uint64_t, uint64_t, uint64_t) {
  return added(push_to_list(memory_at(head), memory_at(node), false), node);
}
uint64_t pop_front(Invocation&, uint64_t head, uint64_t, uint64_t, uint64_t, uint64_t) {
  return address(pop_from_list(memory_at(head), true));
}
uint64_t pop_back(Invocation&, uint64_t head, uint64_t, uint64_t, uint64_t, uint64_t) {
  return address(pop_from_list(memory_at(head), false));
}
uint64_t front(Invocation&, uint64_t head, uint64_t, uint64_t, uint64_t, uint64_t) {
  return address(end_of_list(memory_at(head), true));
}
uint64_t back(Invocation&, uint64_t head, uint64_t, uint64_t, uint64_t, uint64_t) {
  return address(end_of_list(memory_at(head), false));
}

// bpf_rbtree_add_impl(root, node, less, ignored, ignored).
uint64_t tree_add(Invocation& run, uint64_t root, uint64_t node, uint64_t less, uint64_t,
                  uint64_t) {
  const NodeOrder is_before = [&](uint8_t* a, uint8_t* b) {
    return !run.fault && run.callbacks->call(less, {address(a), address(b), 0, 0, 0}) != 0;
  };
  return added(add_to_tree(memory_at(root), memory_at(node), is_before), node);
}
uint64_t tree_remove(Invocation&, uint64_t root, uint64_t node, uint64_t, uint64_t, uint64_t) {
  return remove_from_tree(memory_at(root), memory_at(node)) ? node : 0;
}
uint64_t tree_first(Invocation&, uint64_t root, uint64_t, uint64_t, uint64_t, uint64_t) {
  return address(first_of_tree(memory_at(root)));
}
uint64_t tree_root(Invocation&, uint64_t root, uint64_t, uint64_t, uint64_t, uint64_t) {
  return address(root_of_tree(memory_at(root)));
}
uint64_t tree_left(Invocation&, uint64_t root, uint64_t node, uint64_t, uint64_t, uint64_t) {
  return address(child_in_tree(memory_at(root), memory_at(node), true));
}
uint64_t tree_right(Invocation&, uint64_t root, uint64_t node, uint64_t, uint64_t, uint64_t) {
  return address(child_in_tree(memory_at(root), memory_at(node), false));
}

constexpr Kfunc row(std::string_view name, Returns returns, std::array<Argument, 5> arguments,
                    HelperFunction function) {
  return {kfunc_row(name, kXdp | kTc | kCgroupSkb | kBtfTracing | kStructOps | kSyscall, returns,
                    arguments, function)};
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    row("bpf_obj_new_impl", R::new_object_or_null, {A::local_type, A::ignored}, make),
    row("bpf_obj_drop_impl", R::none, {A::dropped_object, A::ignored}, drop),
    row("bpf_refcount_acquire_impl", R::same_object_or_null, {A::counted_object, A::ignored},
        acquire),
    row("bpf_kfunc_call_test_release", R::none, {A::ended_object}, nothing),
    row("bpf_list_push_front_impl", R::integer,
        {A::list_head, A::added_list_node, A::ignored, A::ignored}, push_front),
    row("bpf_list_push_back_impl", R::integer,
        {A::list_head, A::added_list_node, A::ignored, A::ignored}, push_back),
    row("bpf_list_pop_front", R::taken_node_or_null, {A::list_head}, pop_front),
    row("bpf_list_pop_back", R::taken_node_or_null, {A::list_head}, pop_back),
    row("bpf_list_front", R::node_or_null, {A::list_head}, front),
    row("bpf_list_back", R::node_or_null, {A::list_head}, back),
    row("bpf_rbtree_add_impl", R::integer,
        {A::rb_root, A::added_rb_node, A::function, A::ignored, A::ignored}, tree_add),
    row("bpf_rbtree_remove", R::taken_node_or_null, {A::rb_root, A::rb_node}, tree_remove),
    row("bpf_rbtree_first", R::node_or_null, {A::rb_root}, tree_first),
    row("bpf_rbtree_root", R::node_or_null, {A::rb_root}, tree_root),
    row("bpf_rbtree_left", R::node_or_null, {A::rb_root, A::rb_node}, tree_left),
    row("bpf_rbtree_right", R::node_or_null, {A::rb_root, A::rb_node}, tree_right),
};

}  // namespace

std::span<const Kfunc> object_kfuncs() { return kRows; }

}  // namespace xnic::vm
