// The tree is a red-black tree that is balanced as textbooks have it (Cormen et al., Introduction
// to Algorithms, chapter 13), so that programs that walk it see the shape that Linux's has.
#include "vm/graph.h"

#include <atomic>

namespace xnic::vm {
namespace {

struct ListNode {
  ListNode* next;
  ListNode* previous;
  uint8_t* owner;
};
// A head begins like a node; no owner.
struct ListHead {
  ListNode* next;
  ListNode* previous;
};

ListNode* as_node(ListHead& head) { return reinterpret_cast<ListNode*>(&head); }

ListHead& list_at(uint8_t* head) {
  auto& list = *reinterpret_cast<ListHead*>(head);
  if (list.next == nullptr) list.next = list.previous = as_node(list);
  return list;
}

// A node has one owner from the moment that somebody takes it, though another object's lock may be
// held by somebody who tries the same.
bool take_node(uint8_t*& owner, uint8_t* by) {
  uint8_t* nobody = nullptr;
  return std::atomic_ref(owner).compare_exchange_strong(nobody, by, std::memory_order_acq_rel);
}

struct TreeNode {
  TreeNode* parent;
  TreeNode* left;
  uint64_t right_and_colour;  // bit 0: red
  uint8_t* owner;

  TreeNode* right() const { return reinterpret_cast<TreeNode*>(right_and_colour & ~uint64_t{1}); }
  void set_right(TreeNode* node) {
    right_and_colour = reinterpret_cast<uint64_t>(node) | (right_and_colour & 1);
  }
  bool is_red() const { return (right_and_colour & 1) != 0; }
  void paint(bool red) { right_and_colour = (right_and_colour & ~uint64_t{1}) | (red ? 1 : 0); }
  TreeNode* child(bool to_left) const { return to_left ? left : right(); }
  void set_child(bool to_left, TreeNode* node) {
    if (to_left) {
      left = node;
    } else {
      set_right(node);
    }
  }
};
static_assert(sizeof(TreeNode) == 32 && sizeof(ListNode) == 24);

bool is_red(const TreeNode* node) { return node != nullptr && node->is_red(); }

struct Tree {
  TreeNode* top;
  TreeNode* first;

  // Puts `node` where `old` hangs under its parent.
  void exchange(TreeNode* old, TreeNode* node) {
    if (old->parent == nullptr) {
      top = node;
    } else {
      old->parent->set_child(old->parent->left == old, node);
    }
    if (node != nullptr) node->parent = old->parent;
  }

  // The child on the other side takes the node's place.
  void rotate(TreeNode* node, bool to_left) {
    TreeNode* up = node->child(!to_left);
    TreeNode* between = up->child(to_left);
    exchange(node, up);
    node->set_child(!to_left, between);
    if (between != nullptr) between->parent = node;
    up->set_child(to_left, node);
    node->parent = up;
  }

  void balance_after_insertion(TreeNode* node) {
    while (is_red(node->parent)) {
      TreeNode* parent = node->parent;
      TreeNode* grandparent = parent->parent;
      const bool left = grandparent->left == parent;
      TreeNode* uncle = grandparent->child(!left);
      if (is_red(uncle)) {
        parent->paint(false);
        uncle->paint(false);
        grandparent->paint(true);
        node = grandparent;
        continue;
      }
      if (parent->child(!left) == node) {
        rotate(parent, left);
        parent = node;
      }
      parent->paint(false);
      grandparent->paint(true);
      rotate(grandparent, !left);
      break;
    }
    top->paint(false);
  }

  // `node`, which may be null, hangs under `parent` and lacks a black one above it.
  void balance_after_removal(TreeNode* node, TreeNode* parent) {
    while (parent != nullptr && !is_red(node)) {
      const bool left = parent->left == node;
      TreeNode* sibling = parent->child(!left);
      if (sibling->is_red()) {
        sibling->paint(false);
        parent->paint(true);
        rotate(parent, left);
        sibling = parent->child(!left);
      }
      if (!is_red(sibling->left) && !is_red(sibling->right())) {
        sibling->paint(true);
        node = parent;
        parent = node->parent;
        continue;
      }
      if (!is_red(sibling->child(!left))) {
        sibling->child(left)->paint(false);
        sibling->paint(true);
        rotate(sibling, !left);
        sibling = parent->child(!left);
      }
      sibling->paint(parent->is_red());
      parent->paint(false);
      sibling->child(!left)->paint(false);
      rotate(parent, left);
      node = top;
      break;
    }
    if (node != nullptr) node->paint(false);
  }

  static TreeNode* leftmost(TreeNode* node) {
    while (node->left != nullptr) node = node->left;
    return node;
  }

  static TreeNode* next(TreeNode* node) {
    if (node->right() != nullptr) return leftmost(node->right());
    TreeNode* up = node->parent;
    while (up != nullptr && up->right() == node) {
      node = up;
      up = up->parent;
    }
    return up;
  }

  void remove(TreeNode* node) {
    if (first == node) first = next(node);
    TreeNode* child = nullptr;
    TreeNode* parent = nullptr;
    bool lost_black = !node->is_red();
    if (node->left == nullptr || node->right() == nullptr) {
      child = node->left != nullptr ? node->left : node->right();
      parent = node->parent;
      exchange(node, child);
    } else {
      TreeNode* heir = leftmost(node->right());
      lost_black = !heir->is_red();
      child = heir->right();
      if (heir->parent == node) {
        parent = heir;
      } else {
        parent = heir->parent;
        exchange(heir, child);
        heir->set_right(node->right());
        heir->right()->parent = heir;
      }
      exchange(node, heir);
      heir->left = node->left;
      heir->left->parent = heir;
      heir->paint(node->is_red());
    }
    if (lost_black) balance_after_removal(child, parent);
  }
};

Tree& tree_at(uint8_t* root) { return *reinterpret_cast<Tree*>(root); }
TreeNode& tree_node_at(uint8_t* node) { return *reinterpret_cast<TreeNode*>(node); }
uint8_t* bytes_of(TreeNode* node) { return reinterpret_cast<uint8_t*>(node); }

}  // namespace

bool push_to_list(uint8_t* head, uint8_t* at, bool to_front) {
  ListHead& list = list_at(head);
  auto& node = *reinterpret_cast<ListNode*>(at);
  if (!take_node(node.owner, head)) return false;
  ListNode* before = to_front ? as_node(list) : list.previous;
  ListNode* behind = before->next;
  node.next = behind;
  node.previous = before;
  before->next = behind->previous = &node;
  return true;
}

uint8_t* end_of_list(uint8_t* head, bool front) {
  ListHead& list = list_at(head);
  ListNode* node = front ? list.next : list.previous;
  return node == as_node(list) ? nullptr : reinterpret_cast<uint8_t*>(node);
}

uint8_t* pop_from_list(uint8_t* head, bool from_front) {
  uint8_t* at = end_of_list(head, from_front);
  if (at == nullptr) return nullptr;
  auto& node = *reinterpret_cast<ListNode*>(at);
  node.previous->next = node.next;
  node.next->previous = node.previous;
  node.next = node.previous = nullptr;
  std::atomic_ref(node.owner).store(nullptr, std::memory_order_release);
  return at;
}

bool add_to_tree(uint8_t* root, uint8_t* at, const NodeOrder& is_before) {
  Tree& tree = tree_at(root);
  TreeNode& node = tree_node_at(at);
  if (!take_node(node.owner, root)) return false;
  TreeNode* parent = nullptr;
  bool left = true;
  bool is_first = true;
  for (TreeNode* here = tree.top; here != nullptr; here = here->child(left)) {
    parent = here;
    left = is_before(at, bytes_of(here));
    is_first = is_first && left;
  }
  node.parent = parent;
  node.left = nullptr;
  node.right_and_colour = 0;
  node.paint(true);
  if (parent == nullptr) {
    tree.top = &node;
  } else {
    parent->set_child(left, &node);
  }
  if (is_first) tree.first = &node;
  tree.balance_after_insertion(&node);
  return true;
}

bool remove_from_tree(uint8_t* root, uint8_t* at) {
  TreeNode& node = tree_node_at(at);
  if (node.owner != root) return false;
  tree_at(root).remove(&node);
  node.parent = node.left = nullptr;
  node.right_and_colour = 0;
  std::atomic_ref(node.owner).store(nullptr, std::memory_order_release);
  return true;
}

uint8_t* first_of_tree(uint8_t* root) { return bytes_of(tree_at(root).first); }

uint8_t* root_of_tree(uint8_t* root) { return bytes_of(tree_at(root).top); }

uint8_t* child_in_tree(uint8_t* root, uint8_t* at, bool left) {
  TreeNode& node = tree_node_at(at);
  return node.owner == root ? bytes_of(node.child(left)) : nullptr;
}

}  // namespace xnic::vm
