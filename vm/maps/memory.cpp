// Where map elements live: whole blocks for maps of fixed layout, a pool for maps that grow.
// What it leaves out: NUMA placement and memory accounting (RLIMIT_MEMLOCK, memory cgroups).
// Test: tests/vm/map_test.cpp, through the maps.
#include "vm/maps/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

namespace xnic::vm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr size_t kChunkBytes = 64 << 10;

constexpr uint64_t whole_pages(uint64_t bytes) { return (bytes + kPageSize - 1) & -kPageSize; }

}  // namespace

tl::expected<MemoryBlock, int> MemoryBlock::map_pages(int fd, uint64_t bytes) {
  const int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE, fd, 0);
  if (memory == MAP_FAILED) return tl::unexpected(-ENOMEM);
  return MemoryBlock(static_cast<uint8_t*>(memory), bytes);
}

tl::expected<MemoryBlock, int> MemoryBlock::anonymous(uint64_t bytes) {
  if (bytes > kMaxMapBytes) return tl::unexpected(-ENOMEM);
  return map_pages(-1, whole_pages(bytes));
}

tl::expected<MemoryBlock, int> MemoryBlock::shared(int fd, uint64_t bytes) {
  if (bytes > kMaxMapBytes) return tl::unexpected(-ENOMEM);
  if (ftruncate(fd, static_cast<off_t>(whole_pages(bytes))) != 0) return tl::unexpected(-errno);
  return map_pages(fd, whole_pages(bytes));
}

MemoryBlock::MemoryBlock(MemoryBlock&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

MemoryBlock::~MemoryBlock() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

ElementPool::ElementPool(size_t element_bytes)
    : element_bytes_((element_bytes + 15) & ~size_t{15}),
      chunk_elements_(std::max<size_t>(1, kChunkBytes / element_bytes_)),
      used_in_chunk_(chunk_elements_) {}

uint8_t* ElementPool::take() try {
  if (!free_.empty()) {
    uint8_t* element = free_.back();
    free_.pop_back();
    return element;
  }
  if (used_in_chunk_ == chunk_elements_) {
    chunks_.push_back(std::make_unique<uint8_t[]>(chunk_elements_ * element_bytes_));
    // give_back() must not need memory: room for every element there is.
    const size_t elements = chunks_.size() * chunk_elements_;
    if (free_.capacity() < elements) free_.reserve(2 * elements);
    used_in_chunk_ = 0;
  }
  return chunks_.back().get() + used_in_chunk_++ * element_bytes_;
} catch (const std::bad_alloc&) {
  return nullptr;
}

void ElementPool::give_back(uint8_t* element) { free_.push_back(element); }

}  // namespace xnic::vm
