#pragma once

#include <cstdint>
#include <functional>

// Lists and trees whose nodes lie in objects of programs: struct bpf_list_head with its
// bpf_list_node, struct bpf_rb_root with its bpf_rb_node. Zeroed memory is an empty one, or a node
// that is in none. A node knows what it is in. Callers hold the lock of the list or tree.
// Test: tests/vm/graph_test.cpp.
namespace xnic::vm {

// False if the node is in a list already.
bool push_to_list(uint8_t* head, uint8_t* node, bool to_front);
// The first or last node, null if there is none.
uint8_t* pop_from_list(uint8_t* head, bool from_front);
uint8_t* end_of_list(uint8_t* head, bool front);

// Whether the first node comes before the second.
using NodeOrder = std::function<bool(uint8_t* node, uint8_t* other)>;
// False if the node is in a tree already. Among equal ones it comes last.
bool add_to_tree(uint8_t* root, uint8_t* node, const NodeOrder& is_before);
// False if the node is not in this tree.
bool remove_from_tree(uint8_t* root, uint8_t* node);
uint8_t* first_of_tree(uint8_t* root);
uint8_t* root_of_tree(uint8_t* root);
// Null, too, if the node is not in this tree.
uint8_t* child_in_tree(uint8_t* root, uint8_t* node, bool left);

}  // namespace xnic::vm
