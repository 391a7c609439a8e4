#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "vm/verifier/bounds.h"

// Numbers near the edges of ranges, and what is known of a set of them.
namespace xnic::vm::verifier {

class Samples {
 public:
  explicit Samples(uint32_t seed) : random_(seed) {}

  uint64_t number() {
    static constexpr uint64_t kEdges[] = {
        0,         1,           0x7f,       0x80,
        0xff,      0x7fff,      0x8000,     0xffff,
        INT32_MAX, 0x8000'0000, UINT32_MAX, 0x1'0000'0000,
        INT64_MAX, 1ull << 63,  UINT64_MAX, 0xffff'ffff'8000'0000};
    switch (random_() % 4) {
      case 0:
        return kEdges[random_() % std::size(kEdges)] + random_() % 5 - 2;
      case 1:
        return random_() % 64;
      case 2:
        return random_() << (random_() % 64);
      default:
        return random_() >> (random_() % 64);
    }
  }

  // A few numbers, often neighbours.
  std::vector<uint64_t> numbers() {
    std::vector<uint64_t> set = {number()};
    const size_t more = random_() % 4;
    for (size_t i = 0; i < more; ++i) {
      set.push_back(random_() % 2 == 0 ? number() : set.back() + random_() % 16);
    }
    return set;
  }

  uint64_t random() { return random_(); }

 private:
  std::mt19937_64 random_;
};

// Everything that all of the numbers have in common, from each side alone.
inline Bounds hull(const std::vector<uint64_t>& numbers) {
  Bounds all = Bounds::constant(numbers.front());
  for (const uint64_t x : numbers) {
    const auto low = static_cast<uint32_t>(x);
    all.bits = join(all.bits, Tnum::constant(x));
    all.full.umin = std::min(all.full.umin, x);
    all.full.umax = std::max(all.full.umax, x);
    all.full.smin = std::min(all.full.smin, static_cast<int64_t>(x));
    all.full.smax = std::max(all.full.smax, static_cast<int64_t>(x));
    all.low.umin = std::min(all.low.umin, low);
    all.low.umax = std::max(all.low.umax, low);
    all.low.smin = std::min(all.low.smin, static_cast<int32_t>(low));
    all.low.smax = std::max(all.low.smax, static_cast<int32_t>(low));
  }
  return all;
}

}  // namespace xnic::vm::verifier
