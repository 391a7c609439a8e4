#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <tl/expected.hpp>
#include <vector>

namespace xnic::vm {

// The bytes that one map may claim up front. Linux refuses at the size of the machine's memory;
// a constant gives the same answer on every machine. Pages are only taken when touched.
inline constexpr uint64_t kMaxMapBytes = 16ull << 30;

inline constexpr uint64_t round_up_8(uint64_t bytes) { return (bytes + 7) & ~7ull; }

// Zeroed memory that does not move, page aligned, unmapped at the end of its life.
class MemoryBlock {
 public:
  // `bytes` of anonymous memory, or -ENOMEM.
  static tl::expected<MemoryBlock, int> anonymous(uint64_t bytes);
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

// Elements of one size, for maps that grow. Memory goes back to the machine only when the pool
// dies, so that what was handed out stays readable; the last freed is the first reused, as in the
// kernel's freelists.
class ElementPool {
 public:
  explicit ElementPool(size_t element_bytes);

  // Zeroed or with the bytes it had when it was freed; 16-byte aligned. Null without memory.
  uint8_t* take();
  void give_back(uint8_t* element);

 private:
  size_t element_bytes_;
  size_t chunk_elements_;
  size_t used_in_chunk_;
  std::vector<std::unique_ptr<uint8_t[]>> chunks_;
  std::vector<uint8_t*> free_;
};

}  // namespace xnic::vm
