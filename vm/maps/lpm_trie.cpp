// Longest prefix match: a binary trie with path compression. A node stands for one prefix and has
// below it only longer ones that begin with it; a fork is a node without value that only joins two
// branches. A map of n prefixes has at most n - 1 forks, and a walk takes at most one step a bit.
//
// As in the kernel, replacing a value puts the prefix into another node, so a pointer from an
// earlier lookup goes on showing the old value; the key kept, bits past the prefix included, is
// the one given last; and next_key is in postorder: longer prefixes before those they begin with.
//
// One mutex guards the trie, for lookups too. What it leaves out: lock-free lookup and any speed
// beyond one step a bit.
// Test: tests/vm/map_test.cpp (a linear model), and against the kernel map_kernel_test.cpp.
#include "vm/maps/lpm_trie.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kLengthBytes = 4;  // of the prefix length in front of the address
constexpr uint32_t kMaxAddressBytes = 256;

struct Node {
  Node* child[2];
  uint32_t length;  // of the prefix, bits
  bool fork;

  // The address, padded to 8 bytes, then the value.
  uint8_t* address() { return reinterpret_cast<uint8_t*>(this + 1); }
};

uint32_t prefix_length(const uint8_t* key) {
  uint32_t length;
  std::memcpy(&length, key, sizeof(length));
  return length;
}

const uint8_t* key_address(const uint8_t* key) { return key + kLengthBytes; }

uint32_t bit_at(const uint8_t* address, uint32_t index) {
  return (address[index / 8] >> (7 - index % 8)) & 1u;
}

// How many leading bits two addresses share, at most `limit`.
uint32_t common_bits(const uint8_t* a, const uint8_t* b, uint32_t limit) {
  uint32_t bits = 0;
  while (bits < limit) {
    const auto difference = static_cast<uint8_t>(a[bits / 8] ^ b[bits / 8]);
    if (difference != 0) {
      bits += static_cast<uint32_t>(std::countl_zero(difference));
      break;
    }
    bits += 8;
  }
  return std::min(bits, limit);
}

class LpmTrie : public Map {
 public:
  LpmTrie(const MapSpec& spec, const MapContext& context)
      : Map(spec, context.possible_cpus),
        address_bytes_(spec.key_size - kLengthBytes),
        max_length_(address_bytes_ * 8),
        pool_(sizeof(Node) + round_up_8(address_bytes_) + round_up_8(spec.value_size)) {}

  uint8_t* lookup(const uint8_t* key, uint32_t) override {
    const std::lock_guard lock(mutex_);
    return find_longest(key);
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t) override {
    const std::lock_guard lock(mutex_);
    const uint32_t length = prefix_length(key);
    if (flags > BPF_EXIST || length > max_length_) return -EINVAL;

    // Down to the place of the prefix: an empty link, or the first node that does not begin it.
    Node** link = &root_;
    uint32_t common = 0;
    while (*link != nullptr) {
      common = common_with(*link, key);
      if (common < (*link)->length || (*link)->length == length) break;
      link = &(*link)->child[bit_at(key_address(key), (*link)->length)];
    }
    Node* there = *link;
    const bool same = there != nullptr && there->length == length && common == length;
    const bool exists = same && !there->fork;
    if (exists && flags == BPF_NOEXIST) return -EEXIST;
    if (!exists && flags == BPF_EXIST) return -ENOENT;
    if (!exists && count_ == spec_.max_entries) return -ENOSPC;

    Node* node = take_node(key, length, false);
    if (node == nullptr) return -ENOMEM;
    // The value may be the program's stale pointer into the node reused here.
    std::memmove(value_of(node), value, spec_.value_size);
    if (same) {
      std::copy_n(there->child, 2, node->child);
      pool_.give_back(reinterpret_cast<uint8_t*>(there));
      *link = node;
    } else if (there == nullptr) {
      *link = node;
    } else if (common == length) {
      node->child[bit_at(there->address(), length)] = there;
      *link = node;
    } else if (Node* fork = take_node(key, common, true); fork != nullptr) {
      const uint32_t side = bit_at(key_address(key), common);
      fork->child[side] = node;
      fork->child[1 - side] = there;
      *link = fork;
    } else {
      pool_.give_back(reinterpret_cast<uint8_t*>(node));
      return -ENOMEM;
    }
    if (!exists) ++count_;
    return 0;
  }

  int erase(const uint8_t* key) override {
    const std::lock_guard lock(mutex_);
    if (prefix_length(key) > max_length_) return -EINVAL;
    Path path;
    if (!find_path(key, path)) return -ENOENT;
    --count_;
    Node* node = *path.links[path.depth - 1];
    Node*& link = *path.links[path.depth - 1];
    if (node->child[0] != nullptr && node->child[1] != nullptr) {
      node->fork = true;
      return 0;
    }
    link = node->child[0] != nullptr ? node->child[0] : node->child[1];
    // A fork left with one branch is replaced by that branch.
    if (link == nullptr && path.depth > 1) {
      Node*& parent_link = *path.links[path.depth - 2];
      if (Node* parent = parent_link; parent->fork) {
        parent_link = parent->child[0] != nullptr ? parent->child[0] : parent->child[1];
        pool_.give_back(reinterpret_cast<uint8_t*>(parent));
      }
    }
    pool_.give_back(reinterpret_cast<uint8_t*>(node));
    return 0;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const std::lock_guard lock(mutex_);
    const uint8_t* stored = find_longest(key);
    if (stored == nullptr) return -ENOENT;
    std::memcpy(value, stored, spec_.value_size);
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return update(key, value, flags, 0);
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    const std::lock_guard lock(mutex_);
    Node* found = nullptr;
    Path path;
    if (key == nullptr || prefix_length(key) > max_length_ || !find_path(key, path)) {
      found = first_below(root_);
    } else {
      // After a left branch comes its sibling, after that the parent.
      for (uint32_t depth = path.depth - 1; depth > 0 && found == nullptr; --depth) {
        Node* parent = *path.links[depth - 1];
        if (path.links[depth] == &parent->child[0]) found = first_below(parent->child[1]);
        if (found == nullptr && !parent->fork) found = parent;
      }
    }
    if (found == nullptr) return -ENOENT;
    std::memcpy(next, &found->length, kLengthBytes);
    std::memcpy(next + kLengthBytes, found->address(), address_bytes_);
    return 0;
  }

 private:
  // The links from the root down to one node.
  struct Path {
    Node** links[kMaxAddressBytes * 8 + 1];
    uint32_t depth;
  };

  uint32_t common_with(Node* node, const uint8_t* key) const {
    return common_bits(node->address(), key_address(key),
                       std::min(node->length, prefix_length(key)));
  }

  uint8_t* value_of(Node* node) const { return node->address() + round_up_8(address_bytes_); }

  uint8_t* find_longest(const uint8_t* key) const {
    const uint32_t length = prefix_length(key);
    if (length > max_length_) return nullptr;
    Node* best = nullptr;
    for (Node* node = root_; node != nullptr;) {
      if (common_with(node, key) < node->length) break;
      if (!node->fork) best = node;
      if (node->length == length) break;
      node = node->child[bit_at(key_address(key), node->length)];
    }
    return best != nullptr ? value_of(best) : nullptr;
  }

  // False where the prefix is not in the map.
  bool find_path(const uint8_t* key, Path& path) {
    const uint32_t length = prefix_length(key);
    path.depth = 0;
    for (Node** link = &root_; *link != nullptr;) {
      Node* node = *link;
      path.links[path.depth++] = link;
      if (common_with(node, key) < node->length) return false;
      if (node->length == length) return !node->fork;
      link = &node->child[bit_at(key_address(key), node->length)];
    }
    return false;
  }

  // The first in postorder. A fork always has two branches.
  static Node* first_below(Node* node) {
    Node* found = nullptr;
    while (node != nullptr) {
      found = node;
      node = node->child[0] != nullptr ? node->child[0] : node->child[1];
    }
    return found;
  }

  // A node without branches and with an undefined value; null without memory.
  Node* take_node(const uint8_t* key, uint32_t length, bool fork) {
    auto* node = reinterpret_cast<Node*>(pool_.take());
    if (node == nullptr) return nullptr;
    node->child[0] = node->child[1] = nullptr;
    node->length = length;
    node->fork = fork;
    std::memcpy(node->address(), key_address(key), address_bytes_);
    return node;
  }

  uint32_t address_bytes_;
  uint32_t max_length_;
  ElementPool pool_;
  std::mutex mutex_;
  Node* root_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace

int check_lpm_trie(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | kAccessFlags;
  // The kernel's struct lpm_trie_node, which shares one allocation with address and value.
  constexpr uint64_t kNodeHeader = 24;
  constexpr uint64_t kMaxValue = kKmallocMax - kMaxAddressBytes - kNodeHeader;
  if (spec.max_entries == 0 || !(spec.flags & BPF_F_NO_PREALLOC) || !flags_valid(spec, kAllowed) ||
      spec.key_size < kLengthBytes + 1 || spec.key_size > kLengthBytes + kMaxAddressBytes ||
      spec.value_size == 0 || spec.value_size > kMaxValue)
    return -EINVAL;
  return 0;
}

tl::expected<std::shared_ptr<Map>, int> create_lpm_trie(const MapSpec& spec,
                                                        const MapContext& context) {
  return std::make_shared<LpmTrie>(spec, context);
}

}  // namespace xnic::vm
