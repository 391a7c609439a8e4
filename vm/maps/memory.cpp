// Where map elements live: whole blocks for maps of fixed layout, a pool for maps that grow.
// What it leaves out: NUMA placement and memory accounting (RLIMIT_MEMLOCK, memory cgroups).
// Test: tests/vm/map_test.cpp, through the maps.
#include "vm/maps/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>

#include "vm/maps/hash_key.h"

namespace xnic::vm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kHugePageSize = 2 << 20;

constexpr uint64_t whole_pages(uint64_t bytes) { return (bytes + kPageSize - 1) & -kPageSize; }

}  // namespace

tl::expected<MemoryBlock, int> MemoryBlock::map_pages(int fd, uint64_t bytes) {
  const int kind = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE, fd, 0);
  if (memory == MAP_FAILED) return tl::unexpected(-ENOMEM);
  // Random lookups in large maps are bound by address translation. Advice: nothing if it fails.
  if (bytes >= 2 * kHugePageSize) madvise(memory, bytes, MADV_HUGEPAGE);
  return MemoryBlock(static_cast<uint8_t*>(memory), bytes);
}

tl::expected<MemoryBlock, int> MemoryBlock::anonymous(uint64_t bytes) {
  if (bytes > kMaxMapBytes) return tl::unexpected(-ENOMEM);
  return reserve(bytes);
}

tl::expected<MemoryBlock, int> MemoryBlock::reserve(uint64_t bytes) {
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

tl::expected<ElementPool, int> ElementPool::make(size_t element_bytes, uint64_t capacity) {
  const uint64_t units = (element_bytes + kUnit - 1) / kUnit;
  const uint64_t most = kNone / units;
  const uint64_t count = std::clamp<uint64_t>(capacity, 1, most);
  return MemoryBlock::reserve(count * units * kUnit).map([&](MemoryBlock&& block) {
    return ElementPool(static_cast<uint32_t>(units), static_cast<uint32_t>(count),
                       std::move(block));
  });
}

uint32_t ElementPool::take() {
  const std::lock_guard lock(*lock_);
  if (first_free_ == kNone) {
    if (touched_ == end_) return kNone;
    return std::exchange(touched_, touched_ + units_);
  }
  const uint32_t number = first_free_;
  first_free_ = static_cast<uint32_t>(load_word(at(number)));
  return number;
}

void ElementPool::give_back(uint32_t number) {
  const std::lock_guard lock(*lock_);
  store_word(at(number), first_free_);
  first_free_ = number;
}

}  // namespace xnic::vm
