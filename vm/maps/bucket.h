#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <atomic>
#include <bit>
#include <cstdint>
#include <thread>

namespace xnic::vm {

// One cache line of a hash table: up to kSlots elements by their number in the table's pool, each
// with an 8-bit tag of its hash, 0 for an empty slot. A full bucket goes on in another one.
//
// Writers hold the bucket by its version, which is odd meanwhile and changes with every write.
// Readers take nothing: what they find is right; that they found nothing counts only if the
// version was even and is unchanged, since an element may have moved behind their back.
struct alignas(64) Bucket {
  static constexpr uint32_t kSlots = 11;

  std::atomic<uint64_t> low_tags;   // of slots 0 to 7
  std::atomic<uint32_t> high_tags;  // of slots 8 to 10
  std::atomic<uint32_t> version;    // counts in the first bucket of a chain, for all of it
  std::atomic<uint32_t> slots[kSlots];
  std::atomic<uint32_t> overflow;  // index of the next bucket of the chain, 0 for none

  static uint8_t tag_of(uint64_t hash) {
    const auto tag = static_cast<uint8_t>(hash >> 56);
    return tag != 0 ? tag : 1;
  }

  // A bit for each slot with this tag.
  uint32_t match(uint8_t tag) const {
    const uint64_t low = low_tags.load(std::memory_order_acquire);
    const uint32_t high = high_tags.load(std::memory_order_acquire);
#if defined(__SSE2__)
    const __m128i tags = _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
    const __m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)));
    return static_cast<uint32_t>(_mm_movemask_epi8(equal)) & kAll;
#else
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      const auto there = slot < 8 ? low >> (8 * slot) : high >> (8 * (slot - 8));
      found |= uint32_t{(there & 0xff) == tag} << slot;
    }
    return found;
#endif
  }
  uint32_t used() const { return ~match(0) & kAll; }
  bool full() const { return match(0) == 0; }

  // For the writer that holds the chain. A new number shows before its tag does.
  void put(uint32_t slot, uint32_t element, uint8_t tag) {
    slots[slot].store(element, std::memory_order_release);
    set_tag(slot, tag);
  }
  void set_tag(uint32_t slot, uint8_t tag) {
    const uint32_t shift = slot % 8 * 8;
    if (slot < 8) {
      const uint64_t others = low_tags.load(std::memory_order_relaxed) & ~(0xffull << shift);
      low_tags.store(others | uint64_t{tag} << shift, std::memory_order_release);
    } else {
      const uint32_t others = high_tags.load(std::memory_order_relaxed) & ~(0xffu << shift);
      high_tags.store(others | uint32_t{tag} << shift, std::memory_order_release);
    }
  }

 private:
  static constexpr uint32_t kAll = (1u << kSlots) - 1;
};
static_assert(sizeof(Bucket) == 64);

// Holds a chain of buckets, given by its first, against other writers.
class BucketLock {
 public:
  // `alone`: another lock already keeps all other writers of the table away.
  BucketLock(Bucket& bucket, bool alone) : bucket_(bucket) {
    version_ = bucket_.version.load(std::memory_order_relaxed) & ~1u;
    if (alone) {
      bucket_.version.store(version_ + 1, std::memory_order_relaxed);
      return;
    }
    for (uint32_t spins = 1; !bucket_.version.compare_exchange_weak(
             version_, version_ + 1, std::memory_order_acquire, std::memory_order_relaxed);
         ++spins) {
      version_ &= ~1u;
      if (spins % 128 == 0) std::this_thread::yield();
    }
  }
  ~BucketLock() { bucket_.version.store(version_ + 2, std::memory_order_release); }
  BucketLock(const BucketLock&) = delete;
  BucketLock& operator=(const BucketLock&) = delete;

 private:
  Bucket& bucket_;
  uint32_t version_;
};

}  // namespace xnic::vm
