// Bloom filters: as many bits as Linux takes for the same spec, so the same rate of values that are
// found though they were never pushed; which values these are depends on the hash, which is ours.
// What it leaves out: NUMA placement.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/bloom_filter.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include "vm/maps/checks.h"
#include "vm/maps/memory.h"

namespace xnic::vm {
namespace {

constexpr uint64_t kMaxHashes = 15;
constexpr uint32_t kDefaultHashes = 5;

uint32_t hash_count(const MapSpec& spec) {
  return spec.map_extra != 0 ? static_cast<uint32_t>(spec.map_extra) : kDefaultHashes;
}

// About entries * hashes / ln(2) bits, a power of two from 64 to 2^32.
uint64_t bit_count(const MapSpec& spec) {
  constexpr uint64_t kMaxBits = 1ull << 32;
  const uint64_t product = uint64_t{spec.max_entries} * hash_count(spec);
  const uint64_t bits = product / 5 * 7;  // 7 / 5 stands for 1 / ln(2)
  if (product > UINT32_MAX || bits > kMaxBits / 2) return kMaxBits;
  return std::bit_ceil(std::max<uint64_t>(bits, 64));
}

class BloomFilter : public Map {
 public:
  BloomFilter(const MapSpec& spec, const MapContext& context, MemoryBlock bits)
      : Map(spec, context.possible_cpus),
        seed_((spec.flags & BPF_F_ZERO_SEED) ? 0 : context.seed),
        mask_(bit_count(spec) - 1),
        bits_(std::move(bits)) {}

  int push(const uint8_t* value, uint64_t flags) override {
    if (flags != BPF_ANY) return -EINVAL;
    const uint64_t hash = hash_of(value);
    for (uint32_t i = 0; i < hash_count(spec_); ++i) {
      const uint64_t bit = place(hash, i);
      word(bit).fetch_or(1ull << bit % 64, std::memory_order_relaxed);
    }
    return 0;
  }

  int pop(uint8_t*) override { return -EOPNOTSUPP; }

  int peek(uint8_t* value) override {
    const uint64_t hash = hash_of(value);
    for (uint32_t i = 0; i < hash_count(spec_); ++i) {
      const uint64_t bit = place(hash, i);
      if ((word(bit).load(std::memory_order_relaxed) >> bit % 64 & 1) == 0) return -ENOENT;
    }
    return 0;
  }

  uint8_t* lookup(const uint8_t*, uint32_t) override { return nullptr; }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override { return -EINVAL; }
  int erase(const uint8_t*) override { return -EOPNOTSUPP; }
  int next_key(const uint8_t*, uint8_t*) override { return -EOPNOTSUPP; }

  int user_lookup(const uint8_t*, uint8_t* value, uint64_t flags) override {
    return flags != 0 ? -EINVAL : peek(value);
  }
  int user_update(const uint8_t*, const uint8_t* value, uint64_t flags) override {
    return push(value, flags);
  }

  // The seed of the hash, then each block of bits that is not all zero, behind its number.
  std::vector<std::vector<uint8_t>> contents() override {
    std::vector<std::vector<uint8_t>> blocks = {bytes_of(seed_)};
    for (uint64_t block = 0; block < block_count(); ++block) {
      const uint8_t* start = bits_.data() + block * block_bytes();
      const uint8_t* end = start + block_bytes();
      if (std::all_of(start, end, [](uint8_t byte) { return byte == 0; })) continue;
      blocks.push_back(bytes_of(block));
      blocks.back().insert(blocks.back().end(), start, end);
    }
    return blocks;
  }
  int restore_contents(std::span<const std::vector<uint8_t>> blocks) override {
    if (blocks.empty() || blocks[0].size() != sizeof(seed_)) return -EINVAL;
    std::memcpy(&seed_, blocks[0].data(), sizeof(seed_));
    for (const std::vector<uint8_t>& block : blocks.subspan(1)) {
      uint64_t number = 0;
      if (block.size() != sizeof(number) + block_bytes()) return -EINVAL;
      std::memcpy(&number, block.data(), sizeof(number));
      if (number >= block_count()) return -EINVAL;
      std::copy(block.begin() + sizeof(number), block.end(), bits_.data() + number * block_bytes());
    }
    return 0;
  }

 private:
  uint64_t bitmap_bytes() const { return (mask_ + 1) / 8; }
  uint64_t block_bytes() const { return std::min<uint64_t>(bitmap_bytes(), 512); }
  uint64_t block_count() const { return bitmap_bytes() / block_bytes(); }
  static std::vector<uint8_t> bytes_of(uint64_t number) {
    const auto* start = reinterpret_cast<const uint8_t*>(&number);
    return {start, start + sizeof(number)};
  }

  static uint64_t mix(uint64_t word) {
    word = (word ^ word >> 32) * 0x9e3779b97f4a7c15ull;
    return word ^ word >> 29;
  }

  uint64_t hash_of(const uint8_t* value) const {
    uint64_t hash = mix(seed_ + 1);
    for (uint32_t done = 0; done < spec_.value_size; done += 8) {
      uint64_t bytes = 0;
      std::memcpy(&bytes, value + done, std::min<size_t>(8, spec_.value_size - done));
      hash = mix(hash ^ bytes);
    }
    return hash;
  }

  // The bit of the i-th hash function.
  uint64_t place(uint64_t hash, uint32_t i) const { return mix(hash + i) & mask_; }

  std::atomic_ref<uint64_t> word(uint64_t bit) const {
    return std::atomic_ref(reinterpret_cast<uint64_t*>(bits_.data())[bit / 64]);
  }

  uint64_t seed_;
  uint64_t mask_;
  MemoryBlock bits_;
};

}  // namespace

int check_bloom_filter(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | kAccessFlags;
  if (spec.value_size > kKmallocMax) return -E2BIG;
  MapSpec without_extra = spec;
  without_extra.map_extra = 0;
  if (spec.key_size != 0 || spec.value_size == 0 || spec.max_entries == 0 ||
      spec.map_extra > kMaxHashes || !flags_valid(without_extra, kAllowed))
    return -EINVAL;
  return 0;
}

tl::expected<std::shared_ptr<Map>, int> create_bloom_filter(const MapSpec& spec,
                                                            const MapContext& context) {
  return MemoryBlock::anonymous(bit_count(spec) / 8)
      .map([&](MemoryBlock&& bits) -> std::shared_ptr<Map> {
        return std::make_shared<BloomFilter>(spec, context, std::move(bits));
      });
}

}  // namespace xnic::vm
