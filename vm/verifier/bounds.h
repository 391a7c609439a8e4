#pragma once

#include <cstdint>

#include "vm/verifier/interval.h"
#include "vm/verifier/tnum.h"

namespace xnic::vm::verifier {

// What is known of a 64-bit number, from five sides: its bits, and its ranges as a signed and as an
// unsigned number, of the whole and of the low 32 bits. sync() lets each side learn from the
// others, in the steps in which Linux does, so that both know the same.
// Test: tests/vm/verifier/bounds_test.cpp.
struct Bounds {
  Tnum bits;
  Interval<int64_t> full;
  Interval<int32_t> low;

  static Bounds unknown() { return {}; }
  static Bounds constant(uint64_t value);

  bool is_unknown() const { return *this == Bounds(); }
  bool is_constant() const { return bits.is_constant(); }
  bool is_constant(bool low_half) const {
    return low_half ? bits.low_half().is_constant() : bits.is_constant();
  }
  // Of a constant.
  uint64_t constant_value(bool low_half = false) const {
    return low_half ? bits.low_half().value : bits.value;
  }
  // Whether the value fits in 4 bytes.
  bool fits_in_32_bits() const { return full.umax <= UINT32_MAX; }
  // False where no number satisfies all sides, which happens on branches that are never taken.
  bool is_consistent() const;
  bool covers(const Bounds& other) const {
    return full.covers(other.full) && low.covers(other.low) && bits.covers(other.bits);
  }
  bool contains(uint64_t value) const;

  void sync();
  // Keeps the low 32 bits, with zeros above.
  void zero_extend();
  // Keeps the low `bytes` bytes (1, 2, 4), with zeros above.
  void truncate(uint32_t bytes);
  // The same with the sign above. For 32-bit moves, only up to bit 31; zero_extend() has to follow.
  void sign_extend(uint32_t bytes);
  void sign_extend_low(uint32_t bytes);

  bool operator==(const Bounds&) const = default;

 private:
  void learn_from_bits();
  void refine_low_from_full();
  void refine_full_from_low();
  // Whether all four ranges are one of numbers below 2^31, and have nothing to tell each other.
  bool is_same_below_sign() const;
};

}  // namespace xnic::vm::verifier
