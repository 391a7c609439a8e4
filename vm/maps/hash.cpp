// Hash maps: chained buckets of a power of two, elements from a pool. A list through all elements
// gives the order of next_key: that in which keys came in. It depends on the history alone, not
// on the seed (Linux's order is that of its randomly seeded buckets).
//
// As in the kernel, replacing a value of a plain hash puts the key into another element, so a
// pointer from an earlier lookup goes on showing the old value; a preallocated map keeps one spare
// element for each CPU to do so. Per-CPU values are overwritten in place.
//
// One mutex guards table and lists, for lookups too; values behind handed out pointers are the
// programs' own affair. What it leaves out: lock-free lookup; bpf_spin_lock, timers and other
// special fields in values; preallocation in the sense of taking the memory early.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/hash.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

namespace xnic::vm {
namespace {

struct Element {
  Element* chain;     // next in the bucket
  Element* previous;  // in order of insertion
  Element* next;
  uint64_t hash;

  // The key, padded to 8 bytes, then the value.
  uint8_t* key() { return reinterpret_cast<uint8_t*>(this + 1); }
};

// Multiply and fold, 8 bytes at a time; the length is the map's and need not be mixed in.
uint64_t hash_bytes(const uint8_t* bytes, size_t count, uint64_t seed) {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15ull;
  uint64_t hash = seed;
  while (count > 0) {
    const size_t step = count < 8 ? count : 8;
    uint64_t word = 0;
    std::memcpy(&word, bytes, step);
    hash = (hash ^ word) * kMultiplier;
    hash ^= hash >> 32;
    bytes += step;
    count -= step;
  }
  hash *= kMultiplier;
  return hash ^ (hash >> 29);
}

// Keys, buckets and lists; what a value is, is the derived class's.
class HashTable : public Map {
 public:
  HashTable(const MapSpec& spec, const MapContext& context, uint64_t value_bytes,
            MemoryBlock buckets)
      : Map(spec, context.possible_cpus),
        key_bytes_(round_up_8(spec.key_size)),
        seed_((spec.flags & BPF_F_ZERO_SEED) ? 0 : context.seed),
        mask_(std::bit_ceil(spec.max_entries) - 1),
        bucket_block_(std::move(buckets)),
        buckets_(reinterpret_cast<Element**>(bucket_block_.data())),
        pool_(sizeof(Element) + key_bytes_ + value_bytes) {}

  int erase(const uint8_t* key) override {
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (element == nullptr) return -ENOENT;
    *link_to(element) = element->chain;
    (element->previous != nullptr ? element->previous->next : first_) = element->next;
    (element->next != nullptr ? element->next->previous : last_) = element->previous;
    --count_;
    give_back(element);
    return 0;
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    const std::lock_guard lock(mutex_);
    Element* element = key != nullptr ? find(key) : nullptr;
    element = element != nullptr ? element->next : first_;
    if (element == nullptr) return -ENOENT;
    std::memcpy(next, element->key(), spec_.key_size);
    return 0;
  }

 protected:
  uint8_t* value_of(Element* element) const { return element->key() + key_bytes_; }
  uint64_t hash(const uint8_t* key) const { return hash_bytes(key, spec_.key_size, seed_); }

  Element* find(const uint8_t* key) const {
    const uint64_t wanted = hash(key);
    Element* element = buckets_[wanted & mask_];
    while (element != nullptr &&
           (element->hash != wanted || std::memcmp(element->key(), key, spec_.key_size) != 0))
      element = element->chain;
    return element;
  }

  // Flags against what is there, in the kernel's order of errors.
  int check_update(const Element* existing, uint64_t flags) const {
    if (flags > BPF_EXIST) return -EINVAL;
    if (flags == BPF_NOEXIST && existing != nullptr) return -EEXIST;
    if (flags == BPF_EXIST && existing == nullptr) return -ENOENT;
    if (existing == nullptr && count_ == spec_.max_entries) return -E2BIG;
    return 0;
  }

  // An element of the pool, in no list yet; null without memory.
  Element* take() { return reinterpret_cast<Element*>(pool_.take()); }
  void give_back(Element* element) { pool_.give_back(reinterpret_cast<uint8_t*>(element)); }

  void insert(Element* element, const uint8_t* key) {
    set_key(element, key);
    Element** bucket = &buckets_[element->hash & mask_];
    element->chain = std::exchange(*bucket, element);
    element->next = nullptr;
    element->previous = std::exchange(last_, element);
    (element->previous != nullptr ? element->previous->next : first_) = element;
    ++count_;
  }

  // Puts `fresh` where `old` is, in bucket and order.
  void replace(Element* old, Element* fresh, const uint8_t* key) {
    set_key(fresh, key);
    *link_to(old) = fresh;
    fresh->chain = old->chain;
    fresh->previous = old->previous;
    fresh->next = old->next;
    (fresh->previous != nullptr ? fresh->previous->next : first_) = fresh;
    (fresh->next != nullptr ? fresh->next->previous : last_) = fresh;
  }

  std::mutex mutex_;

 private:
  // The key may be the program's pointer into the very element that is replaced.
  void set_key(Element* element, const uint8_t* key) const {
    element->hash = hash(key);
    std::memmove(element->key(), key, spec_.key_size);
  }

  Element** link_to(const Element* element) {
    Element** link = &buckets_[element->hash & mask_];
    while (*link != element) link = &(*link)->chain;
    return link;
  }

  uint64_t key_bytes_;
  uint64_t seed_;
  uint32_t mask_;
  MemoryBlock bucket_block_;
  Element** buckets_;
  ElementPool pool_;
  Element* first_ = nullptr;
  Element* last_ = nullptr;
  uint32_t count_ = 0;
};

class Hash : public HashTable {
 public:
  Hash(const MapSpec& spec, const MapContext& context, MemoryBlock buckets)
      : HashTable(spec, context, round_up_8(spec.value_size), std::move(buckets)) {
    if (!(spec.flags & BPF_F_NO_PREALLOC)) spares_.resize(context.possible_cpus);
  }

  uint8_t* lookup(const uint8_t* key, uint32_t) override {
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    return element != nullptr ? value_of(element) : nullptr;
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    const std::lock_guard lock(mutex_);
    Element* existing = find(key);
    if (const int error = check_update(existing, flags)) return error;
    Element** spare = existing != nullptr && cpu < spares_.size() ? &spares_[cpu] : nullptr;
    Element* fresh = spare != nullptr && *spare != nullptr ? *spare : take();
    if (fresh == nullptr) return -ENOMEM;
    if (existing == nullptr) {
      insert(fresh, key);
    } else {
      replace(existing, fresh, key);
      if (spare != nullptr)
        *spare = existing;
      else
        give_back(existing);
    }
    // The value may be the program's stale pointer into the element reused here.
    std::memmove(value_of(fresh), value, spec_.value_size);
    return 0;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (element == nullptr) return -ENOENT;
    std::memcpy(value, value_of(element), spec_.value_size);
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return update(key, value, flags, 0);
  }

 private:
  // By CPU, filled at the first replacement; empty for maps without preallocation.
  std::vector<Element*> spares_;
};

class PercpuHash : public HashTable {
 public:
  PercpuHash(const MapSpec& spec, const MapContext& context, MemoryBlock buckets)
      : HashTable(spec, context, round_up_8(spec.value_size) * context.possible_cpus,
                  std::move(buckets)),
        stride_(round_up_8(spec.value_size)) {}

  uint32_t user_value_size() const override {
    return static_cast<uint32_t>(stride_ * possible_cpus_);
  }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override {
    const std::lock_guard lock(mutex_);
    Element* element = cpu < possible_cpus_ ? find(key) : nullptr;
    return element != nullptr ? slot(element, cpu) : nullptr;
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    const std::lock_guard lock(mutex_);
    if (cpu >= possible_cpus_) return -EINVAL;
    Element* element = find(key);
    if (const int error = check_update(element, flags)) return error;
    if (element == nullptr) {
      element = take();
      if (element == nullptr) return -ENOMEM;
      insert(element, key);
      for (uint32_t other = 0; other < possible_cpus_; ++other)
        if (other != cpu) std::memset(slot(element, other), 0, stride_);
      std::memset(slot(element, cpu) + spec_.value_size, 0, stride_ - spec_.value_size);
    }
    std::memmove(slot(element, cpu), value, spec_.value_size);
    return 0;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    if (flags != 0) return -EINVAL;
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (element == nullptr) return -ENOENT;
    std::memcpy(value, slot(element, 0), user_value_size());
    return 0;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (const int error = check_update(element, flags)) return error;
    if (element == nullptr) {
      element = take();
      if (element == nullptr) return -ENOMEM;
      insert(element, key);
    }
    std::memcpy(slot(element, 0), value, user_value_size());
    return 0;
  }

 private:
  uint8_t* slot(Element* element, uint32_t cpu) const { return value_of(element) + cpu * stride_; }

  uint64_t stride_;
};

int check(const MapSpec& spec, uint32_t allowed) {
  // The kernel's struct htab_elem and struct bucket, whose sizes bound an element and a table.
  constexpr uint64_t kElementHeader = 48;
  constexpr uint32_t kMaxBuckets = 1u << 27;
  if (!flags_valid(spec, allowed) || spec.max_entries == 0 || spec.key_size == 0 ||
      spec.value_size == 0)
    return -EINVAL;
  if (uint64_t{spec.key_size} + spec.value_size >= kKmallocMax - kElementHeader) return -E2BIG;
  return spec.max_entries > kMaxBuckets ? -E2BIG : 0;
}

template <class Table>
tl::expected<std::shared_ptr<Map>, int> create(const MapSpec& spec, const MapContext& context,
                                               uint64_t value_bytes) {
  const bool preallocated = !(spec.flags & BPF_F_NO_PREALLOC);
  if (preallocated && spec.max_entries * (spec.key_size + value_bytes) > kMaxMapBytes)
    return tl::unexpected(-ENOMEM);
  return MemoryBlock::anonymous(std::bit_ceil(spec.max_entries) * sizeof(Element*))
      .map([&](MemoryBlock&& buckets) -> std::shared_ptr<Map> {
        return std::make_shared<Table>(spec, context, std::move(buckets));
      });
}

constexpr uint32_t kPercpuFlags = BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED | kAccessFlags;

}  // namespace

int check_hash(const MapSpec& spec) { return check(spec, kPercpuFlags | BPF_F_NUMA_NODE); }

int check_percpu_hash(const MapSpec& spec) {
  if (const int error = check(spec, kPercpuFlags)) return error;
  return round_up_8(spec.value_size) > kPercpuValueMax ? -E2BIG : 0;
}

tl::expected<std::shared_ptr<Map>, int> create_hash(const MapSpec& spec,
                                                    const MapContext& context) {
  return create<Hash>(spec, context, spec.value_size);
}

tl::expected<std::shared_ptr<Map>, int> create_percpu_hash(const MapSpec& spec,
                                                           const MapContext& context) {
  return create<PercpuHash>(spec, context, round_up_8(spec.value_size) * context.possible_cpus);
}

}  // namespace xnic::vm
