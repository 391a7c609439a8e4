#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "vm/map.h"
#include "vm/maps/bucket.h"
#include "vm/maps/checks.h"
#include "vm/maps/hash_key.h"
#include "vm/maps/hash_probe.h"
#include "vm/maps/memory.h"

// The table under all hash maps; for vm/maps/hash.cpp and vm/maps/lru_hash.cpp alone. Buckets of
// one cache line (vm/maps/bucket.h) name elements of a pool by number. Lookups take no lock;
// writers lock the bucket of their key, or the derived class lets one writer in at a time. Values
// behind handed out pointers are the programs' own affair.
//
// next_key goes by bucket: in an order that depends on the seed and on what came in when. Entries
// that come or go while it walks may be missed or shown twice.
namespace xnic::vm {

// A key with its values, in the pool, whose link takes the first 8 bytes while the element is free.
struct Element {
  uint32_t index;  // in the pool
  uint32_t place;  // first bucket of the chain that it is in, and its slot there or kFurtherOn

  static constexpr uint32_t kSlotBits = 4;
  static constexpr uint32_t kFurtherOn = (1u << kSlotBits) - 1;
  static_assert(Bucket::kSlots <= kFurtherOn);
  void set_place(uint32_t first, uint32_t bucket, uint32_t slot) {
    place = first << kSlotBits | (bucket == first ? slot : kFurtherOn);
  }
  uint32_t first_bucket() const { return place >> kSlotBits; }
  uint32_t slot() const { return place & kFurtherOn; }

  // The key, padded to 8 bytes, then the value.
  uint8_t* key() { return reinterpret_cast<uint8_t*>(this + 1); }
};

// The memory of a table.
struct TableMemory {
  MemoryBlock buckets;
  ElementPool pool;
  uint32_t bucket_count;  // a power of two; room for as many as elements to overflow into follows

  // For `entries` elements of `element_bytes`, and `spares` more. -ENOMEM without address space.
  static tl::expected<TableMemory, int> make(uint64_t entries, size_t element_bytes,
                                             uint64_t spares) {
    // Two to four of a bucket's eleven slots are taken when the map is full: hardly ever does a
    // lookup meet a second element of its tag, or a chain, which would be a branch that the CPU
    // guesses wrong while it waits for memory.
    const uint64_t count = std::bit_ceil(entries / 4 + 1);
    const uint64_t overflow = entries + 1;
    return MemoryBlock::reserve((count + overflow) * sizeof(Bucket)).and_then([&](MemoryBlock&& b) {
      return ElementPool::make(element_bytes, entries + spares).map([&](ElementPool&& pool) {
        return TableMemory{std::move(b), std::move(pool), static_cast<uint32_t>(count)};
      });
    });
  }
};

// Keys, buckets and lists; what a value is, is the derived class's.
class HashTable : public Map {
 public:
  // `front_bytes` (a multiple of 16) of each element come before it and are the derived class's.
  HashTable(const MapSpec& spec, const MapContext& context, TableMemory memory,
            size_t front_bytes = 0)
      : Map(spec, context.possible_cpus),
        key_bytes_(round_up_8(spec.key_size)),
        seed_((spec.flags & BPF_F_ZERO_SEED) ? 0 : context.seed),
        mask_(memory.bucket_count - 1),
        bucket_block_(std::move(memory.buckets)),
        buckets_(reinterpret_cast<Bucket*>(bucket_block_.data())),
        next_overflow_(memory.bucket_count),
        pool_(std::move(memory.pool)),
        elements_(pool_.at(0) + front_bytes) {}

  int next_key(const uint8_t* key, uint8_t* next) override {
    Place from{0, 0, 0};
    if (key != nullptr) {
      const uint64_t hash = hash_of(key);
      if (const Place at = find_place(key, hash); at.found())
        from = {at.first, at.bucket, at.slot + 1};
    }
    for (uint32_t first = from.first; first <= mask_; from = {++first, 0, 0}) {
      uint32_t bucket = from.bucket != 0 ? from.bucket : first;
      uint32_t slot = from.slot;
      for (;;) {
        const uint32_t used = slot < Bucket::kSlots ? buckets_[bucket].used() >> slot << slot : 0;
        if (used != 0) {
          const uint32_t at = static_cast<uint32_t>(std::countr_zero(used));
          read_key(next, element_in(buckets_[bucket], at));
          return 0;
        }
        bucket = buckets_[bucket].overflow.load(std::memory_order_acquire);
        if (bucket == 0) break;
        slot = 0;
      }
    }
    return -ENOENT;
  }

  virtual HashProbe probe() const {
    constexpr uint32_t kKeyOffset = sizeof(Element);
    return {.seed = seed_,
            .mask = static_cast<uint32_t>(mask_),
            .buckets = buckets_,
            .elements = elements_,
            .key_offset = kKeyOffset,
            .value_offset = kKeyOffset + static_cast<uint32_t>(key_bytes_)};
  }

  bool key_of(const uint8_t* value, uint8_t* key) const override {
    std::memcpy(key, value - key_bytes_, spec_.key_size);
    return true;
  }

 protected:
  // Where an element is: a slot of a bucket, in the chain that begins with `first`.
  struct Place {
    static constexpr uint32_t kNowhere = UINT32_MAX;
    uint32_t first;
    uint32_t bucket;
    uint32_t slot;
    bool found() const { return slot != kNowhere; }
  };

  template <uint32_t kKeyBytes = 0>
  uint64_t hash_of(const uint8_t* key) const {
    return hash_key(key, kKeyBytes != 0 ? kKeyBytes : spec_.key_size, seed_);
  }
  // A handle is the bucket's address, which leaves the low 6 bits free, with the tag on top.
  template <uint32_t kKeyBytes>
  uint64_t prefetch_bucket(const uint8_t* key) const {
    const uint64_t hash = hash_of<kKeyBytes>(key);
    const Bucket* bucket = &bucket_of(hash);
    __builtin_prefetch(bucket);
    return std::bit_cast<uint64_t>(bucket) | uint64_t{Bucket::tag_of(hash)} << 56;
  }
  void prefetch_element(uint64_t handle) const {
    constexpr uint64_t kAddress = (uint64_t{1} << 56) - 1;
    const auto* bucket = std::bit_cast<const Bucket*>(handle & kAddress);
    const uint32_t found = bucket->match(static_cast<uint8_t>(handle >> 56));
    if (found != 0) {
      __builtin_prefetch(element_in(*bucket, static_cast<uint32_t>(std::countr_zero(found))));
    }
  }
  Bucket& bucket_of(uint64_t hash) const { return buckets_[hash & mask_]; }
  Element* element_at(uint32_t index) const {
    return reinterpret_cast<Element*>(elements_ + uint64_t{index} * ElementPool::kUnit);
  }
  Element* element_in(const Bucket& bucket, uint32_t slot) const {
    return element_at(bucket.slots[slot].load(std::memory_order_acquire));
  }
  Element* element_in(const Place& place) const {
    return place.found() ? element_in(buckets_[place.bucket], place.slot) : nullptr;
  }
  uint8_t* value_of(Element* element) const { return element->key() + key_bytes_; }
  // Cancels the timers and frees the objects in the values of an element.
  virtual void release_fields(Element* element) = 0;
  // The same of all elements, for when the map dies.
  void release_all_fields() {
    if (!spec_.fields.owns_objects()) return;
    for (uint32_t i = 0; i < next_overflow_; ++i) {
      for (uint32_t used = buckets_[i].used(); used != 0; used &= used - 1) {
        release_fields(element_in(buckets_[i], static_cast<uint32_t>(std::countr_zero(used))));
      }
    }
  }

  // The element of a key, without a lock; null where there is none. `kKeyBytes` is the size of the
  // key, or 0. The first element with the key's tag nearly always is the one.
  template <uint32_t kKeyBytes = 0>
  Element* find(const uint8_t* key) const {
    const uint32_t bytes = kKeyBytes != 0 ? kKeyBytes : spec_.key_size;
    const uint64_t hash = hash_of<kKeyBytes>(key);
    const Bucket& first = bucket_of(hash);
    const uint32_t version = first.version.load(std::memory_order_acquire);
    const uint32_t found = first.match(Bucket::tag_of(hash));
    if (found != 0) [[likely]] {
      Element* element = element_in(first, static_cast<uint32_t>(std::countr_zero(found)));
      if (equal_keys(element->key(), key, bytes) &&
          first.version.load(std::memory_order_acquire) == version) [[likely]] {
        return element;
      }
    } else if (first.overflow.load(std::memory_order_acquire) == 0 && version % 2 == 0 &&
               first.version.load(std::memory_order_acquire) == version) {
      return nullptr;
    }
    return search(key, hash);
  }

  // For whoever holds the bucket. In place, so that the answer does not go through memory.
  [[gnu::always_inline]] Place find_place(const uint8_t* key, uint64_t hash) const {
    const uint8_t tag = Bucket::tag_of(hash);
    const auto first = static_cast<uint32_t>(hash & mask_);
    for (uint32_t bucket = first;;) {
      for (uint32_t left = buckets_[bucket].match(tag); left != 0; left &= left - 1) {
        const auto slot = static_cast<uint32_t>(std::countr_zero(left));
        Element* element = element_in(buckets_[bucket], slot);
        if (equal_keys(element->key(), key, spec_.key_size)) return {first, bucket, slot};
      }
      bucket = buckets_[bucket].overflow.load(std::memory_order_acquire);
      if (bucket == 0) return {first, 0, Place::kNowhere};
    }
  }

  static int check_flags(bool exists, uint64_t flags) {
    if (flags > BPF_EXIST) return -EINVAL;
    if (flags == BPF_NOEXIST && exists) return -EEXIST;
    if (flags == BPF_EXIST && !exists) return -ENOENT;
    return 0;
  }

  // Counts one more element, unless the map is full.
  bool count_in() {
    if (count_.fetch_add(1, std::memory_order_relaxed) < spec_.max_entries) return true;
    count_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void count_out() { count_.fetch_sub(1, std::memory_order_relaxed); }

  // An element of the pool, in no bucket yet; null without memory.
  Element* take() {
    const uint32_t index = pool_.take();
    if (index == ElementPool::kNone) return nullptr;
    Element* element = element_at(index);
    element->index = index;
    return element;
  }
  void give_back_to_pool(Element* element) { pool_.give_back(element->index); }

  // The functions below are for whoever holds the bucket.

  // Puts an element that has key and value into the chain of its hash.
  void insert(Element* element, uint64_t hash) {
    const auto first = static_cast<uint32_t>(hash & mask_);
    uint32_t bucket = first;
    while (buckets_[bucket].full()) {
      uint32_t next = buckets_[bucket].overflow.load(std::memory_order_relaxed);
      if (next == 0) {
        next = take_overflow();
        buckets_[bucket].overflow.store(next, std::memory_order_release);
      }
      bucket = next;
    }
    const auto slot = static_cast<uint32_t>(std::countr_zero(buckets_[bucket].match(0)));
    element->set_place(first, bucket, slot);
    buckets_[bucket].put(slot, element->index, Bucket::tag_of(hash));
  }

  // Puts `fresh`, which has the same key, where an element is.
  void replace(const Place& place, Element* fresh) {
    if (!spec_.fields.empty()) release_fields(element_in(place));
    fresh->set_place(place.first, place.bucket, place.slot);
    buckets_[place.bucket].slots[place.slot].store(fresh->index, std::memory_order_release);
  }

  void unlink(const Place& place) {
    if (!spec_.fields.empty()) release_fields(element_in(place));
    buckets_[place.bucket].set_tag(place.slot, 0);
    if (place.bucket != place.first && buckets_[place.bucket].used() == 0)
      give_back_overflow(place);
  }

  // The place of an element that is in the table.
  Place place_of(const Element* element) const {
    const uint32_t first = element->first_bucket();
    if (element->slot() != Element::kFurtherOn) return {first, first, element->slot()};
    for (uint32_t bucket = first;;) {
      const Bucket& here = buckets_[bucket];
      for (uint32_t left = here.used(); left != 0; left &= left - 1) {
        const auto slot = static_cast<uint32_t>(std::countr_zero(left));
        if (here.slots[slot].load(std::memory_order_relaxed) == element->index) {
          return {first, bucket, slot};
        }
      }
      bucket = here.overflow.load(std::memory_order_relaxed);
    }
  }
  Bucket& first_bucket(const Element* element) const { return buckets_[element->first_bucket()]; }

 private:
  // The same, wherever in the chain it may be, and whatever is being written.
  [[gnu::noinline]] Element* search(const uint8_t* key, uint64_t hash) const {
    const uint8_t tag = Bucket::tag_of(hash);
    const Bucket& first = bucket_of(hash);
    for (uint32_t tries = 1;; ++tries) {
      const uint32_t version = first.version.load(std::memory_order_acquire);
      const Bucket* bucket = &first;
      for (;;) {
        for (uint32_t left = bucket->match(tag); left != 0; left &= left - 1) {
          Element* element = element_in(*bucket, static_cast<uint32_t>(std::countr_zero(left)));
          if (!equal_keys(element->key(), key, spec_.key_size)) continue;
          // The element may have changed keys halfway through the comparison, but not again.
          if (first.version.load(std::memory_order_acquire) == version ||
              equal_keys(element->key(), key, spec_.key_size)) {
            return element;
          }
        }
        const uint32_t next = bucket->overflow.load(std::memory_order_acquire);
        if (next == 0) break;
        bucket = &buckets_[next];
      }
      if (version % 2 == 0 && first.version.load(std::memory_order_acquire) == version) {
        return nullptr;
      }
      if (tries % 64 == 0) std::this_thread::yield();
    }
  }

  // Buckets that chains go on in. A free one has no tags, and leads to the next free one: readers
  // that are still on their way through it find nothing, and then that the version has changed.
  uint32_t take_overflow() {
    const std::lock_guard lock(overflow_lock_);
    if (free_overflow_ == 0) return next_overflow_++;
    const uint32_t bucket = free_overflow_;
    free_overflow_ = buckets_[bucket].overflow.load(std::memory_order_relaxed);
    buckets_[bucket].overflow.store(0, std::memory_order_release);
    return bucket;
  }
  void give_back_overflow(const Place& empty) {
    uint32_t before = empty.first;
    while (buckets_[before].overflow.load(std::memory_order_relaxed) != empty.bucket)
      before = buckets_[before].overflow.load(std::memory_order_relaxed);
    Bucket& bucket = buckets_[empty.bucket];
    buckets_[before].overflow.store(bucket.overflow.load(std::memory_order_relaxed),
                                    std::memory_order_release);
    const std::lock_guard lock(overflow_lock_);
    bucket.overflow.store(free_overflow_, std::memory_order_release);
    free_overflow_ = empty.bucket;
  }

  void read_key(uint8_t* to, Element* element) const {
    for (uint32_t at = 0; at < spec_.key_size; at += 8) {
      const uint64_t word = load_word(element->key() + at);
      std::memcpy(to + at, &word, std::min(8u, spec_.key_size - at));
    }
  }

  uint64_t key_bytes_;
  uint64_t seed_;
  uint64_t mask_;
  MemoryBlock bucket_block_;
  Bucket* buckets_;
  SpinLock overflow_lock_;
  uint32_t next_overflow_;
  uint32_t free_overflow_ = 0;
  std::atomic<uint32_t> count_ = 0;
  ElementPool pool_;
  uint8_t* elements_;
};

}  // namespace xnic::vm
