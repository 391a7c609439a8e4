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

// Elements of one size, by number from 0, all in one piece of address space, of which pages are
// taken when touched. Memory goes back to the machine only when the pool dies, so that what was
// handed out stays readable; the last freed is the first reused, as in the kernel's freelists. For
// many threads.
class ElementPool {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Of at most `capacity` elements, or of fewer where they would claim more than kMaxPoolBytes.
  // -ENOMEM without address space.
  static tl::expected<ElementPool, int> make(size_t element_bytes, uint64_t capacity);

  // An element that is zeroed, or has the bytes it had when it was freed but for the first 8.
  // kNone if all are taken.
  uint32_t take();
  void give_back(uint32_t index);

  // 16-byte aligned.
  uint8_t* at(uint32_t index) const { return block_.data() + index * stride_; }
  size_t stride() const { return stride_; }  // bytes

 private:
  static constexpr uint64_t kMaxPoolBytes = 1ull << 36;

  ElementPool(size_t stride, uint32_t capacity, MemoryBlock block)
      : stride_(stride), capacity_(capacity), block_(std::move(block)) {}

  size_t stride_;
  uint32_t capacity_;
  MemoryBlock block_;
  std::unique_ptr<SpinLock> lock_ = std::make_unique<SpinLock>();
  uint32_t touched_ = 0;         // elements that were ever taken
  uint32_t first_free_ = kNone;  // each free element begins with the number of the next
};

}  // namespace xnic::vm
