// Longest prefix match: a binary trie with path compression. A node stands for one prefix and has
// below it only longer ones that begin with it; a fork is a node without value that only joins two
// branches. A map of n prefixes has at most n - 1 forks, and a walk takes at most one step a bit.
// Whole IPv4 addresses are looked up in the tables of vm/maps/prefix_table.h instead, which follow
// the trie.
//
// As in the kernel, replacing a value puts the prefix into another node, so a pointer from an
// earlier lookup goes on showing the old value; the key kept, bits past the prefix included, is
// the one given last; and next_key is in postorder: longer prefixes before those they begin with.
//
// One writer at a time. Lookups take no lock: they begin again if a writer came between.
// Test: tests/vm/map_test.cpp (a linear model), and against the kernel map_kernel_test.cpp.
#include "vm/maps/lpm_trie.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "vm/maps/checks.h"
#include "vm/maps/hash_key.h"
#include "vm/maps/memory.h"
#include "vm/maps/prefix_table.h"
#include "vm/maps/spin_lock.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kLengthBytes = 4;  // of the prefix length in front of the address
constexpr uint32_t kMaxAddressBytes = 256;
constexpr uint32_t kIpv4Bytes = 4;

struct Node {
  // The pool's; apart from the rest, since a reader may still be in a node that was given back.
  uint64_t link;
  std::atomic<Node*> child[2];
  uint32_t index;                // in the pool
  std::atomic<uint32_t> length;  // of the prefix, bits
  std::atomic<bool> fork;

  // The address, padded to 8 bytes, then the value.
  uint8_t* address() { return reinterpret_cast<uint8_t*>(this + 1); }
  Node* below(uint32_t side) const { return child[side].load(std::memory_order_acquire); }
};

uint32_t prefix_length(const uint8_t* key) {
  uint32_t length;
  std::memcpy(&length, key, sizeof(length));
  return length;
}

const uint8_t* key_address(const uint8_t* key) { return key + kLengthBytes; }

uint32_t ipv4_address(const uint8_t* key) {
  uint32_t address;
  std::memcpy(&address, key_address(key), sizeof(address));
  return __builtin_bswap32(address);
}

uint32_t bit_at(const uint8_t* address, uint32_t index) {
  return (address[index / 8] >> (7 - index % 8)) & 1u;
}

class LpmTrie : public Map {
 public:
  LpmTrie(const MapSpec& spec, const MapContext& context, ElementPool pool,
          std::optional<PrefixTable> ipv4)
      : Map(spec, context.possible_cpus),
        address_bytes_(spec.key_size - kLengthBytes),
        max_length_(address_bytes_ * 8),
        pool_(std::move(pool)),
        ipv4_(std::move(ipv4)) {}

  static size_t node_bytes(const MapSpec& spec) {
    return sizeof(Node) + round_up_8(spec.key_size - kLengthBytes) + round_up_8(spec.value_size);
  }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override {
    return ipv4_ ? look_up_ipv4(this, key, cpu) : look_up(this, key, cpu);
  }

  DirectLookup direct_lookup() override {
    return {.kind = DirectLookup::Kind::function,
            .function = ipv4_ ? look_up_ipv4 : look_up,
            .table = this,
            .prefetch = ipv4_ ? prefetch_ipv4 : nullptr};
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t) override {
    const Writing writing(*this);
    const uint32_t length = prefix_length(key);
    if (flags > BPF_EXIST || length > max_length_) return -EINVAL;

    // Down to the place of the prefix: an empty link, or the first node that does not begin it.
    std::atomic<Node*>* link = &root_;
    uint32_t common = 0;
    Node* there = nullptr;
    while ((there = link->load(std::memory_order_relaxed)) != nullptr) {
      common = common_with(there, key);
      if (common < length_of(there) || length_of(there) == length) break;
      link = &there->child[bit_at(key_address(key), length_of(there))];
    }
    const bool same = there != nullptr && length_of(there) == length && common == length;
    const bool exists = same && !is_fork(there);
    if (exists && flags == BPF_NOEXIST) return -EEXIST;
    if (!exists && flags == BPF_EXIST) return -ENOENT;
    if (!exists && count_ == spec_.max_entries) return -ENOSPC;

    Node* node = take_node(key, length, false);
    if (node == nullptr) return -ENOMEM;
    // The value may be the program's stale pointer into the node reused here.
    std::memmove(value_of(node), value, spec_.value_size);
    const bool joins = there != nullptr && common < length && !same;
    Node* fork = joins ? take_node(key, common, true) : nullptr;
    if ((joins && fork == nullptr) || !show(node, exists ? there : nullptr)) {
      if (fork != nullptr) pool_.give_back(fork->index);
      pool_.give_back(node->index);
      return -ENOMEM;
    }
    if (same) {
      for (uint32_t side = 0; side < 2; ++side) set(node->child[side], there->below(side));
      set(*link, node);
      pool_.give_back(there->index);
    } else if (there == nullptr) {
      set(*link, node);
    } else if (fork == nullptr) {
      set(node->child[bit_at(there->address(), length)], there);
      set(*link, node);
    } else {
      const uint32_t side = bit_at(key_address(key), common);
      set(fork->child[side], node);
      set(fork->child[1 - side], there);
      set(*link, fork);
    }
    if (!exists) ++count_;
    return 0;
  }

  int erase(const uint8_t* key) override {
    const Writing writing(*this);
    if (prefix_length(key) > max_length_) return -EINVAL;
    Path path;
    if (!find_path(key, path)) return -ENOENT;
    --count_;
    std::atomic<Node*>& link = *path.links[path.depth - 1];
    Node* node = link.load(std::memory_order_relaxed);
    if (ipv4_) hide(node, path);
    if (node->below(0) != nullptr && node->below(1) != nullptr) {
      node->fork.store(true, std::memory_order_release);
      return 0;
    }
    Node* branch = node->below(0) != nullptr ? node->below(0) : node->below(1);
    set(link, branch);
    // A fork left with one branch is replaced by that branch.
    if (branch == nullptr && path.depth > 1) {
      std::atomic<Node*>& parent_link = *path.links[path.depth - 2];
      if (Node* parent = parent_link.load(std::memory_order_relaxed); is_fork(parent)) {
        set(parent_link, parent->below(0) != nullptr ? parent->below(0) : parent->below(1));
        pool_.give_back(parent->index);
      }
    }
    pool_.give_back(node->index);
    return 0;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const std::lock_guard lock(lock_);
    const Node* found = find_longest(key);
    if (found == nullptr) return -ENOENT;
    std::memcpy(value, value_of(const_cast<Node*>(found)), spec_.value_size);
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return update(key, value, flags, 0);
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    const std::lock_guard lock(lock_);
    Node* found = nullptr;
    Path path;
    if (key == nullptr || prefix_length(key) > max_length_ || !find_path(key, path)) {
      found = first_below(root_.load(std::memory_order_relaxed));
    } else {
      // After a left branch comes its sibling, after that the parent.
      for (uint32_t depth = path.depth - 1; depth > 0 && found == nullptr; --depth) {
        Node* parent = path.links[depth - 1]->load(std::memory_order_relaxed);
        if (path.links[depth] == &parent->child[0]) found = first_below(parent->below(1));
        if (found == nullptr && !is_fork(parent)) found = parent;
      }
    }
    if (found == nullptr) return -ENOENT;
    const uint32_t length = length_of(found);
    std::memcpy(next, &length, kLengthBytes);
    std::memcpy(next + kLengthBytes, found->address(), address_bytes_);
    return 0;
  }

 private:
  // Keeps other writers away, and lets readers know by a version that is odd meanwhile.
  class Writing {
   public:
    explicit Writing(LpmTrie& trie) : trie_(trie), lock_(trie.lock_) {
      trie_.version_.store(trie_.version_.load(std::memory_order_relaxed) + 1,
                           std::memory_order_relaxed);
    }
    ~Writing() {
      trie_.version_.store(trie_.version_.load(std::memory_order_relaxed) + 1,
                           std::memory_order_release);
    }
    Writing(const Writing&) = delete;
    Writing& operator=(const Writing&) = delete;

   private:
    LpmTrie& trie_;
    std::lock_guard<SpinLock> lock_;
  };

  // The links from the root down to one node.
  struct Path {
    std::atomic<Node*>* links[kMaxAddressBytes * 8 + 1];
    uint32_t depth;
  };

  static uint32_t length_of(const Node* node) {
    return node->length.load(std::memory_order_acquire);
  }
  static bool is_fork(const Node* node) { return node->fork.load(std::memory_order_acquire); }
  static void set(std::atomic<Node*>& link, Node* node) {
    link.store(node, std::memory_order_release);
  }

  // What `find` gives, when no writer came between. It holds all by value, and little, so that it
  // stays in registers.
  template <class Find>
  uint8_t* read(Find find) const {
    const uint32_t version = version_.load(std::memory_order_acquire);
    uint8_t* found = find();
    if (version % 2 == 0 && version_.load(std::memory_order_acquire) == version) [[likely]] {
      return found;
    }
    return read_again(find);
  }
  template <class Find>
  [[gnu::noinline]] uint8_t* read_again(Find find) const {
    for (uint32_t tries = 1;; ++tries) {
      const uint32_t version = version_.load(std::memory_order_acquire);
      uint8_t* found = find();
      if (version % 2 == 0 && version_.load(std::memory_order_acquire) == version) return found;
      if (tries % 64 == 0) std::this_thread::yield();
    }
  }

  // Out of the way of look_up_ipv4().
  [[gnu::noinline]] static uint8_t* look_up(void* table, const uint8_t* key, uint32_t) {
    const auto* trie = static_cast<LpmTrie*>(table);
    return trie->read([trie, key] {
      Node* found = trie->find_longest(key);
      return found != nullptr ? trie->value_of(found) : nullptr;
    });
  }

  static uint8_t* look_up_ipv4(void* table, const uint8_t* key, uint32_t cpu) {
    const auto* trie = static_cast<LpmTrie*>(table);
    if (prefix_length(key) != 32) return look_up(table, key, cpu);
    const uint32_t address = ipv4_address(key);
    return trie->read([trie, address] {
      const uint32_t found = trie->ipv4_->find(address);
      return found != 0 ? trie->value_of(trie->node_at(found)) : nullptr;
    });
  }
  static uint64_t prefetch_ipv4(void* table, const uint8_t* key) {
    static_cast<LpmTrie*>(table)->ipv4_->prefetch(ipv4_address(key));
    return 0;
  }

  // Nodes in the IPv4 tables go by numbers from 1.
  Node* node_at(uint32_t number) const { return reinterpret_cast<Node*>(pool_.at(number - 1)); }

  // Lets whole IPv4 addresses find the node, in the place of `old` if that is not null. False
  // without memory.
  bool show(Node* node, const Node* old) {
    if (!ipv4_) return true;
    const uint32_t length = length_of(node);
    const uint32_t address = prefix_address(node, length);
    if (old != nullptr) {
      ipv4_->replace(address, length, old->index + 1, node->index + 1);
      return true;
    }
    return ipv4_->add(address, length, node->index + 1,
                      [this](uint32_t number) { return length_of(node_at(number)); });
  }

  void hide(Node* node, const Path& path) {
    const uint32_t length = length_of(node);
    const uint32_t address = prefix_address(node, length);
    uint32_t shorter = 0;
    for (uint32_t depth = path.depth - 1; depth > 0 && shorter == 0; --depth) {
      Node* above = path.links[depth - 1]->load(std::memory_order_relaxed);
      if (!is_fork(above)) shorter = above->index + 1;
    }
    ipv4_->remove(address, length, node->index + 1, shorter);
  }

  // Host byte order, zeros past the prefix.
  static uint32_t prefix_address(Node* node, uint32_t length) {
    uint32_t address;
    std::memcpy(&address, node->address(), sizeof(address));
    return length == 0 ? 0 : __builtin_bswap32(address) & ~0u << (32 - length);
  }

  // How many leading bits the node's prefix and the key's have in common.
  uint32_t common_with(Node* node, const uint8_t* key) const {
    const uint32_t limit = std::min(length_of(node), prefix_length(key));
    const uint8_t* address = key_address(key);
    for (uint32_t at = 0; at * 8 < limit; at += 8) {
      const uint64_t difference =
          load_word(node->address() + at) ^ key_word(address + at, address_bytes_ - at);
      if (difference != 0) {
        const auto same = static_cast<uint32_t>(std::countl_zero(__builtin_bswap64(difference)));
        return std::min(at * 8 + same, limit);
      }
    }
    return limit;
  }

  uint8_t* value_of(Node* node) const { return node->address() + round_up_8(address_bytes_); }

  // Nothing that it meets is certain while another thread writes, but that it ends.
  Node* find_longest(const uint8_t* key) const {
    const uint32_t length = prefix_length(key);
    if (length > max_length_) return nullptr;
    Node* best = nullptr;
    Node* node = root_.load(std::memory_order_acquire);
    for (uint32_t steps = 0; node != nullptr && steps <= max_length_; ++steps) {
      const uint32_t there = length_of(node);
      if (there > length || common_with(node, key) < there) break;
      if (!is_fork(node)) best = node;
      if (there == length) break;
      node = node->below(bit_at(key_address(key), there));
    }
    return best;
  }

  // False where the prefix is not in the map.
  bool find_path(const uint8_t* key, Path& path) {
    const uint32_t length = prefix_length(key);
    path.depth = 0;
    for (std::atomic<Node*>* link = &root_; link->load(std::memory_order_relaxed) != nullptr;) {
      Node* node = link->load(std::memory_order_relaxed);
      path.links[path.depth++] = link;
      if (common_with(node, key) < length_of(node)) return false;
      if (length_of(node) == length) return !is_fork(node);
      link = &node->child[bit_at(key_address(key), length_of(node))];
    }
    return false;
  }

  // The first in postorder. A fork always has two branches.
  static Node* first_below(Node* node) {
    Node* found = nullptr;
    while (node != nullptr) {
      found = node;
      node = node->below(0) != nullptr ? node->below(0) : node->below(1);
    }
    return found;
  }

  // A node without branches and with an undefined value; null without memory.
  Node* take_node(const uint8_t* key, uint32_t length, bool fork) {
    const uint32_t index = pool_.take();
    if (index == ElementPool::kNone) return nullptr;
    auto* node = reinterpret_cast<Node*>(pool_.at(index));
    set(node->child[0], nullptr);
    set(node->child[1], nullptr);
    node->index = index;
    node->length.store(length, std::memory_order_release);
    node->fork.store(fork, std::memory_order_release);
    copy_key(node->address(), key_address(key), address_bytes_);
    return node;
  }

  uint32_t address_bytes_;
  uint32_t max_length_;
  ElementPool pool_;
  std::optional<PrefixTable> ipv4_;
  SpinLock lock_;
  std::atomic<uint32_t> version_ = 0;
  std::atomic<Node*> root_ = nullptr;
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
  // Prefixes, the forks that join them, and one more of each while a value is replaced.
  const uint64_t nodes = 2ull * spec.max_entries + 1;
  auto pool = ElementPool::make(LpmTrie::node_bytes(spec), nodes);
  if (!pool) return tl::unexpected(pool.error());
  std::optional<PrefixTable> ipv4;
  // A node's number goes by its place in memory.
  const uint64_t units = (LpmTrie::node_bytes(spec) + ElementPool::kUnit - 1) / ElementPool::kUnit;
  if (spec.key_size == kLengthBytes + kIpv4Bytes && nodes * units <= PrefixTable::kMostPrefixes) {
    auto table = PrefixTable::make(spec.max_entries);
    if (!table) return tl::unexpected(table.error());
    ipv4.emplace(std::move(*table));
  }
  return std::make_shared<LpmTrie>(spec, context, std::move(*pool), std::move(ipv4));
}

}  // namespace xnic::vm
