// Lists and trees of programs' objects: that they hold what was put in, in order, and that the tree
// stays as flat as a red-black tree is. Their shape is compared with Linux's by
// tests/bpf/local_objects.
#include "vm/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace xnic::vm {
namespace {

struct alignas(8) Root {
  uint8_t bytes[16] = {};
};
struct alignas(8) Node {
  uint8_t bytes[32] = {};
  int key = 0;
};

Node* node_at(uint8_t* at) { return reinterpret_cast<Node*>(at); }

bool by_key(uint8_t* a, uint8_t* b) { return node_at(a)->key < node_at(b)->key; }

// In order; how deep it goes is left in `depth`.
void collect(Root& root, uint8_t* at, size_t level, std::vector<Node*>& found, size_t& depth) {
  if (at == nullptr) return;
  depth = std::max(depth, level);
  collect(root, child_in_tree(root.bytes, at, true), level + 1, found, depth);
  found.push_back(node_at(at));
  collect(root, child_in_tree(root.bytes, at, false), level + 1, found, depth);
}

TEST(Graph, ListsGiveTheirNodesBackInOrderFromEitherEnd) {
  Root head;
  std::array<Node, 64> nodes;
  std::deque<Node*> expected;
  std::mt19937 random(1);
  EXPECT_EQ(pop_from_list(head.bytes, true), nullptr);
  for (int step = 0; step < 5'000; ++step) {
    Node& node = nodes[random() % nodes.size()];
    const bool front = random() % 2 == 0;
    if (random() % 2 == 0) {
      const bool is_in = std::ranges::find(expected, &node) != expected.end();
      ASSERT_EQ(push_to_list(head.bytes, node.bytes, front), !is_in);
      if (is_in) continue;
      front ? expected.push_front(&node) : expected.push_back(&node);
    } else if (expected.empty()) {
      ASSERT_EQ(pop_from_list(head.bytes, front), nullptr);
    } else {
      Node* wanted = front ? expected.front() : expected.back();
      ASSERT_EQ(end_of_list(head.bytes, front), wanted->bytes);
      ASSERT_EQ(pop_from_list(head.bytes, front), wanted->bytes);
      front ? expected.pop_front() : expected.pop_back();
    }
  }
}

TEST(Graph, TreesKeepTheirOrderAndStayFlat) {
  Root root;
  std::vector<Node> nodes(300);
  std::multimap<int, Node*> expected;
  std::mt19937 random(2);
  for (int step = 0; step < 20'000; ++step) {
    Node& node = nodes[random() % nodes.size()];
    const auto known = std::ranges::find(expected, &node, [](const auto& e) { return e.second; });
    if (known == expected.end()) {
      ASSERT_FALSE(remove_from_tree(root.bytes, node.bytes));
      node.key = static_cast<int>(random() % 100);
      ASSERT_TRUE(add_to_tree(root.bytes, node.bytes, by_key));
      expected.emplace(node.key, &node);
    } else {
      ASSERT_FALSE(add_to_tree(root.bytes, node.bytes, by_key));
      ASSERT_TRUE(remove_from_tree(root.bytes, node.bytes));
      expected.erase(known);
    }
    std::vector<Node*> found;
    size_t depth = 0;
    collect(root, root_of_tree(root.bytes), 1, found, depth);
    ASSERT_TRUE(
        std::ranges::equal(found, expected, {}, {}, [](const auto& e) { return e.second; }));
    ASSERT_LE(static_cast<double>(depth), 2 * std::log2(static_cast<double>(found.size()) + 1));
    ASSERT_EQ(first_of_tree(root.bytes), found.empty() ? nullptr : found.front()->bytes);
  }
}

TEST(Graph, ANodeIsFoundInItsOwnTreeAlone) {
  Root one;
  Root other;
  Node node;
  ASSERT_TRUE(add_to_tree(one.bytes, node.bytes, by_key));
  EXPECT_FALSE(add_to_tree(other.bytes, node.bytes, by_key));
  EXPECT_FALSE(remove_from_tree(other.bytes, node.bytes));
  EXPECT_TRUE(remove_from_tree(one.bytes, node.bytes));
  EXPECT_EQ(first_of_tree(one.bytes), nullptr);
}

}  // namespace
}  // namespace xnic::vm
