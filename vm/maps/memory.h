#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <tl/expected.hpp>
#include <utility>

#include "vm/maps/spin_lock.h"

namespace xnic::vm {

// The bytes that one map may claim up front. Linux refuses at the size of the machine's memory;
// a constant gives the same answer on every machine. Pages are only taken when touched.
inline constexpr uint64_t kMaxMapBytes = 16ull << 30;

inline constexpr uint64_t round_up_8(uint64_t bytes) { return (bytes + 7) & ~7ull; }

// Zeroed memory that does not move, page aligned, unmapped at the end of its life.
class MemoryBlock {
 public:
  // `bytes` of anonymous memory, at most kMaxMapBytes, or -ENOMEM.
  static tl::expected<MemoryBlock, int> anonymous(uint64_t bytes);
  // The same without that bound.
  static tl::expected<MemoryBlock, int> reserve(uint64_t bytes);
  // Makes the memfd `fd` at least `bytes` long, in whole pages, and shares its pages. -ENOMEM, or
  // the -errno of ftruncate. The descriptor stays the caller's.
  static tl::expected<MemoryBlock, int> shared(int fd, uint64_t bytes);

  MemoryBlock(MemoryBlock&& other) noexcept;
  MemoryBlock& operator=(MemoryBlock&&) = delete;
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;
  ~MemoryBlock();

  uint8_t* data() const { return data_; }

 private:
  MemoryBlock(uint8_t* data, uint64_t bytes) : data_(data), bytes_(bytes) {}
  static tl::expected<MemoryBlock, int> map_pages(int fd, uint64_t bytes);

  uint8_t* data_;
  uint64_t bytes_;
};

// Elements of one size, all in one piece of address space, of which pages are taken when touched.
// An element's number is its distance from the first, in units of 16 bytes, so that finding it
// takes no multiplication. Memory goes back to the machine only when the pool dies, so that what
// was handed out stays readable; the last freed is the first reused, as in the kernel's freelists.
// For many threads.
class ElementPool {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kUnit = 16;  // bytes

  // Of at most `capacity` elements, or of fewer where their numbers would not do: in 64 GiB.
  // -ENOMEM without address space.
  static tl::expected<ElementPool, int> make(size_t element_bytes, uint64_t capacity);

  // An element that is zeroed, or has the bytes it had when it was freed but for the first 8.
  // kNone if all are taken.
  uint32_t take();
  void give_back(uint32_t number);

  // 16-byte aligned.
  uint8_t* at(uint32_t number) const { return block_.data() + uint64_t{number} * kUnit; }

 private:
  ElementPool(uint32_t units, uint32_t capacity, MemoryBlock block)
      : units_(units), end_(units * capacity), block_(std::move(block)) {}

  uint32_t units_;  // of an element
  uint32_t end_;    // number behind the last element
  MemoryBlock block_;
  std::unique_ptr<SpinLock> lock_ = std::make_unique<SpinLock>();
  uint32_t touched_ = 0;         // number behind the elements that were ever taken
  uint32_t first_free_ = kNone;  // each free element begins with the number of the next
};

}  // namespace xnic::vm
