#include "vm/verifier/tnum.h"

#include <bit>

namespace xnic::vm::verifier {
namespace {

constexpr Tnum known_except(uint64_t value, uint64_t unknown) {
  return {value & ~unknown, unknown};
}

}  // namespace

Tnum Tnum::range(uint64_t min, uint64_t max) {
  const auto differing = static_cast<uint32_t>(std::bit_width(min ^ max));
  if (differing == 64) return unknown();
  return known_except(min, (uint64_t{1} << differing) - 1);
}

uint64_t Tnum::next_after(uint64_t x) const {
  if (x >= max()) return max();
  if (x < value) return value;
  const uint64_t fixed = ~mask;
  const uint64_t differing = (x ^ value) & fixed;
  // Counts on in the unknown bits.
  if (differing == 0) return (((x | fixed) + 1) & mask) | value;
  // Above the first fixed bit where `x` is no member, the next one begins as `x` does.
  const uint64_t first = std::bit_floor(differing);
  const uint64_t below = first | (first - 1);
  if ((value & first) != 0) return (x & mask & ~below) | value;
  return (((x | fixed | below) + 1) & mask) | value;
}

Tnum Tnum::shifted_right_signed(uint32_t by, uint32_t width) const {
  if (width == 32) {
    return {static_cast<uint32_t>(static_cast<int32_t>(value) >> by),
            static_cast<uint32_t>(static_cast<int32_t>(mask) >> by)};
  }
  return {static_cast<uint64_t>(static_cast<int64_t>(value) >> by),
          static_cast<uint64_t>(static_cast<int64_t>(mask) >> by)};
}

// The sum of the smallest members and that of the largest differ in the bits that an unknown bit
// or a carry out of one can reach.
Tnum operator+(Tnum a, Tnum b) {
  const uint64_t least = a.value + b.value;
  const uint64_t most = least + a.mask + b.mask;
  return known_except(least, (least ^ most) | a.mask | b.mask);
}

Tnum operator-(Tnum a, Tnum b) {
  const uint64_t known = a.value - b.value;
  const uint64_t most = known + a.mask;
  const uint64_t least = known - b.mask;
  return known_except(known, (most ^ least) | a.mask | b.mask);
}

// Long multiplication; where a bit of `a` is unknown, the sum goes on with and without `b`.
Tnum operator*(Tnum a, Tnum b) {
  Tnum sum = Tnum::constant(0);
  for (; (a.value | a.mask) != 0; a = a.shifted_right(1), b = b.shifted_left(1)) {
    if ((a.value & 1) != 0) {
      sum = sum + b;
    } else if ((a.mask & 1) != 0) {
      sum = join(sum, sum + b);
    }
  }
  return sum;
}

Tnum operator&(Tnum a, Tnum b) {
  const uint64_t ones = a.value & b.value;
  return {ones, a.max() & b.max() & ~ones};
}

Tnum operator|(Tnum a, Tnum b) {
  const uint64_t ones = a.value | b.value;
  return {ones, (a.mask | b.mask) & ~ones};
}

Tnum operator^(Tnum a, Tnum b) { return known_except(a.value ^ b.value, a.mask | b.mask); }

Tnum intersection(Tnum a, Tnum b) { return known_except(a.value | b.value, a.mask & b.mask); }

Tnum join(Tnum a, Tnum b) { return known_except(a.value, (a.value ^ b.value) | a.mask | b.mask); }

}  // namespace xnic::vm::verifier
