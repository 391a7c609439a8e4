#pragma once

#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "vm/map.h"
#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

// The table under all hash maps; for vm/maps/hash.cpp and vm/maps/lru_hash.cpp alone. Chained
// buckets of a power of two, elements from a pool. A list through all elements gives the order of
// next_key: that in which keys came in. It depends on the history alone, not on the seed (Linux's
// order is that of its randomly seeded buckets).
//
// One mutex guards table and lists, for lookups too; values behind handed out pointers are the
// programs' own affair.
namespace xnic::vm {

struct Element {
  Element* chain;     // next in the bucket
  Element* previous;  // in order of insertion
  Element* next;
  uint64_t hash;

  // The key, padded to 8 bytes, then the value.
  uint8_t* key() { return reinterpret_cast<uint8_t*>(this + 1); }
};

// Multiply and fold, 8 bytes at a time; the length is the map's and need not be mixed in.
inline uint64_t hash_bytes(const uint8_t* bytes, size_t count, uint64_t seed) {
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
  // `front_bytes` (a multiple of 16) of each element come before it and are the derived class's.
  HashTable(const MapSpec& spec, const MapContext& context, uint64_t value_bytes,
            MemoryBlock buckets, size_t front_bytes = 0)
      : Map(spec, context.possible_cpus),
        front_bytes_(front_bytes),
        key_bytes_(round_up_8(spec.key_size)),
        seed_((spec.flags & BPF_F_ZERO_SEED) ? 0 : context.seed),
        mask_(std::bit_ceil(spec.max_entries) - 1),
        bucket_block_(std::move(buckets)),
        buckets_(reinterpret_cast<Element**>(bucket_block_.data())),
        pool_(front_bytes + sizeof(Element) + key_bytes_ + value_bytes) {}

  int erase(const uint8_t* key) override {
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (element == nullptr) return -ENOENT;
    remove(element);
    return 0;
  }

  int user_lookup(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    return copy_out(key, value, flags, false);
  }

  int user_lookup_and_delete(const uint8_t* key, uint8_t* value, uint64_t flags) override {
    return copy_out(key, value, flags, true);
  }

  int next_key(const uint8_t* key, uint8_t* next) override {
    const std::lock_guard lock(mutex_);
    Element* element = key != nullptr ? find(key) : nullptr;
    element = element != nullptr ? element->next : first_;
    if (element == nullptr) return -ENOENT;
    std::memcpy(next, element->key(), spec_.key_size);
    return 0;
  }

  bool key_of(const uint8_t* value, uint8_t* key) const override {
    std::memcpy(key, value - key_bytes_, spec_.key_size);
    return true;
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

  static int check_flags(const Element* existing, uint64_t flags) {
    if (flags > BPF_EXIST) return -EINVAL;
    if (flags == BPF_NOEXIST && existing != nullptr) return -EEXIST;
    if (flags == BPF_EXIST && existing == nullptr) return -ENOENT;
    return 0;
  }

  // Flags against what is there, in the kernel's order of errors.
  int check_update(const Element* existing, uint64_t flags) const {
    if (const int error = check_flags(existing, flags)) return error;
    if (existing == nullptr && count_ == spec_.max_entries) return -E2BIG;
    return 0;
  }

  // An element of the pool, in no list yet; null without memory.
  Element* take() {
    uint8_t* memory = pool_.take();
    return memory != nullptr ? reinterpret_cast<Element*>(memory + front_bytes_) : nullptr;
  }
  // The element of a key that a program looks up; null where there is none.
  virtual Element* find_for_program(const uint8_t* key) { return find(key); }
  // What becomes of an element that has left the table.
  virtual void give_back(Element* element) {
    pool_.give_back(reinterpret_cast<uint8_t*>(element) - front_bytes_);
  }
  // Copies the element's value as user space sees it; `locked` asks for its bpf_spin_lock.
  virtual void read(Element* element, uint8_t* value, bool locked) = 0;

  void unlink(Element* element) {
    spec_.fields.zero_timer(value_of(element));
    *link_to(element) = element->chain;
    (element->previous != nullptr ? element->previous->next : first_) = element->next;
    (element->next != nullptr ? element->next->previous : last_) = element->previous;
    --count_;
  }

  void remove(Element* element) {
    unlink(element);
    give_back(element);
  }

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
    spec_.fields.zero_timer(value_of(old));
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
  int copy_out(const uint8_t* key, uint8_t* value, uint64_t flags, bool then_remove) {
    const bool locked = flags == BPF_F_LOCK && spec_.fields.has_spin_lock();
    if (flags != 0 && !locked) return -EINVAL;
    const std::lock_guard lock(mutex_);
    Element* element = find(key);
    if (element == nullptr) return -ENOENT;
    read(element, value, locked);
    if (then_remove) remove(element);
    return 0;
  }

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

  size_t front_bytes_;
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

// Over HashTable or a table made of it: one value for each key.
template <class Table>
class SingleValues : public Table {
 public:
  SingleValues(const MapSpec& spec, const MapContext& context, MemoryBlock buckets)
      : Table(spec, context, round_up_8(spec.value_size), std::move(buckets)) {}

  uint8_t* lookup(const uint8_t* key, uint32_t) override {
    const std::lock_guard lock(this->mutex_);
    Element* element = this->find_for_program(key);
    return element != nullptr ? this->value_of(element) : nullptr;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return this->update(key, value, flags, 0);
  }

 protected:
  // Into an element that no key had before. The value may be the program's stale pointer into it.
  void write(Element* element, const uint8_t* value) {
    this->spec_.fields.copy(this->value_of(element), value, this->spec_.value_size);
    this->spec_.fields.zero(this->value_of(element));
  }

 private:
  void read(Element* element, uint8_t* value, bool locked) override {
    uint8_t* stored = this->value_of(element);
    if (locked) {
      this->spec_.fields.copy_locked(value, stored, this->spec_.value_size, stored);
    } else {
      this->spec_.fields.copy(value, stored, this->spec_.value_size);
    }
    this->spec_.fields.zero(value);
  }
};

// The same with a value for each CPU, written in place. A derived class finds or makes the element
// of a store().
template <class Table>
class PercpuValues : public Table {
 public:
  PercpuValues(const MapSpec& spec, const MapContext& context, MemoryBlock buckets)
      : Table(spec, context, round_up_8(spec.value_size) * context.possible_cpus,
              std::move(buckets)),
        stride_(round_up_8(spec.value_size)) {}

  uint32_t user_value_size() const override {
    return static_cast<uint32_t>(stride_ * this->possible_cpus_);
  }

  uint8_t* lookup(const uint8_t* key, uint32_t cpu) override {
    const std::lock_guard lock(this->mutex_);
    Element* element = cpu < this->possible_cpus_ ? this->find_for_program(key) : nullptr;
    return element != nullptr ? slot(element, cpu) : nullptr;
  }

  int update(const uint8_t* key, const uint8_t* value, uint64_t flags, uint32_t cpu) override {
    if (cpu >= this->possible_cpus_) return -EINVAL;
    return store(key, {value, cpu, false}, flags);
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    return store(key, {value, 0, true}, flags);
  }

 protected:
  // The value of one CPU, or those of all, stored from `cpu`.
  struct Values {
    const uint8_t* bytes;
    uint32_t cpu;
    bool all;
  };
  virtual int store(const uint8_t* key, const Values& values, uint64_t flags) = 0;

  // A fresh element gets zeros for the CPUs that have no value. A program's value may be its stale
  // pointer into the element.
  void write(Element* element, const Values& values, bool fresh) {
    if (values.all) {
      std::memcpy(slot(element, 0), values.bytes, user_value_size());
      return;
    }
    const uint32_t size = this->spec_.value_size;
    if (fresh) {
      for (uint32_t other = 0; other < this->possible_cpus_; ++other)
        if (other != values.cpu) std::memset(slot(element, other), 0, stride_);
      std::memset(slot(element, values.cpu) + size, 0, stride_ - size);
    }
    std::memmove(slot(element, values.cpu), values.bytes, size);
  }

 private:
  void read(Element* element, uint8_t* value, bool) override {
    std::memcpy(value, slot(element, 0), user_value_size());
  }

  uint8_t* slot(Element* element, uint32_t cpu) const {
    return this->value_of(element) + cpu * stride_;
  }

  uint64_t stride_;
};

// What BPF_MAP_CREATE answers to the spec of a hash map: 0 or -errno.
inline int check_hash_spec(const MapSpec& spec, uint32_t allowed, bool lru, bool percpu) {
  // The kernel's struct htab_elem and struct bucket, whose sizes bound an element and a table.
  constexpr uint64_t kElementHeader = 48;
  constexpr uint32_t kMaxBuckets = 1u << 27;
  if (!flags_valid(spec, allowed)) return -EINVAL;
  if (lru && (spec.flags & BPF_F_NO_PREALLOC)) return -kErrorNotSupported;
  // Memory of one node makes no sense where each CPU has its own.
  const bool per_cpu_memory = percpu || (spec.flags & BPF_F_NO_COMMON_LRU);
  if ((spec.flags & BPF_F_NUMA_NODE) && per_cpu_memory) return -EINVAL;
  if (spec.max_entries == 0 || spec.key_size == 0 || spec.value_size == 0) return -EINVAL;
  if (uint64_t{spec.key_size} + spec.value_size >= kKmallocMax - kElementHeader) return -E2BIG;
  if (percpu && round_up_8(spec.value_size) > kPercpuValueMax) return -E2BIG;
  return spec.max_entries > kMaxBuckets ? -E2BIG : 0;
}

// `value_bytes` is what one key needs for its values.
template <class Table>
tl::expected<std::shared_ptr<Map>, int> create_hash_table(const MapSpec& spec,
                                                          const MapContext& context,
                                                          uint64_t value_bytes) {
  const bool preallocated = !(spec.flags & BPF_F_NO_PREALLOC);
  if (preallocated && spec.max_entries * (spec.key_size + value_bytes) > kMaxMapBytes)
    return tl::unexpected(-ENOMEM);
  return MemoryBlock::anonymous(std::bit_ceil(spec.max_entries) * sizeof(Element*))
      .map([&](MemoryBlock&& buckets) -> std::shared_ptr<Map> {
        return std::make_shared<Table>(spec, context, std::move(buckets));
      });
}

inline constexpr uint32_t kHashFlags =
    BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED | BPF_F_NUMA_NODE | kAccessFlags;

}  // namespace xnic::vm
