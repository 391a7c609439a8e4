#pragma once

#include <cstdint>

namespace xnic::vm::verifier {

// A tristate number: of each of the 64 bits it says 0, 1 or unknown. A bit is unknown where `mask`
// is 1, and else as in `value`; the two never overlap. Each operation gives a number that covers
// every result that members of its operands have.
// After H. Vishwanathan et al., "Sound, Precise, and Fast Abstract Interpretation with Tristate
// Numbers" (CGO 2022). Test: tests/vm/verifier/tnum_test.cpp.
struct Tnum {
  uint64_t value = 0;
  uint64_t mask = UINT64_MAX;

  static constexpr Tnum unknown() { return {0, UINT64_MAX}; }
  static constexpr Tnum constant(uint64_t value) { return {value, 0}; }
  // The smallest number that covers all of min..max.
  static Tnum range(uint64_t min, uint64_t max);

  constexpr bool is_constant() const { return mask == 0; }
  constexpr bool contains(uint64_t x) const { return (x & ~mask) == value; }
  // Whether every member of `other` is one of this.
  constexpr bool covers(Tnum other) const {
    return (other.mask & ~mask) == 0 && (other.value & ~mask) == value;
  }
  constexpr bool overlaps(Tnum other) const {
    return ((value ^ other.value) & ~mask & ~other.mask) == 0;
  }
  // Whether every member is a multiple of `size`, a power of two.
  constexpr bool is_aligned(uint64_t size) const { return ((value | mask) & (size - 1)) == 0; }
  constexpr uint64_t min() const { return value; }
  constexpr uint64_t max() const { return value | mask; }
  // The smallest member above `x`; max() if there is none.
  uint64_t next_after(uint64_t x) const;

  constexpr Tnum shifted_left(uint32_t by) const { return {value << by, mask << by}; }
  constexpr Tnum shifted_right(uint32_t by) const { return {value >> by, mask >> by}; }
  // With the sign in bit `width`-1 (32 or 64); of 32 bits, the upper half of the result is 0.
  Tnum shifted_right_signed(uint32_t by, uint32_t width) const;

  // The low 4 bytes, with zeros above; the high 4 bytes, with zeros below.
  constexpr Tnum low_half() const { return {value & UINT32_MAX, mask & UINT32_MAX}; }
  constexpr Tnum high_half() const { return {value & ~kLow, mask & ~kLow}; }
  constexpr Tnum with_low_half(Tnum low) const {
    return {(value & ~kLow) | (low.value & kLow), (mask & ~kLow) | (low.mask & kLow)};
  }
  // The low `bytes` bytes, with zeros above.
  constexpr Tnum truncated(uint32_t bytes) const {
    const uint64_t kept = bytes >= 8 ? UINT64_MAX : (uint64_t{1} << (8 * bytes)) - 1;
    return {value & kept, mask & kept};
  }

  bool operator==(const Tnum&) const = default;

 private:
  static constexpr uint64_t kLow = UINT32_MAX;
};

Tnum operator+(Tnum a, Tnum b);
Tnum operator-(Tnum a, Tnum b);
Tnum operator*(Tnum a, Tnum b);
Tnum operator&(Tnum a, Tnum b);
Tnum operator|(Tnum a, Tnum b);
Tnum operator^(Tnum a, Tnum b);

// What both know, for a value that is a member of both.
Tnum intersection(Tnum a, Tnum b);
// The smallest number that covers both.
Tnum join(Tnum a, Tnum b);

}  // namespace xnic::vm::verifier
