#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "vm/verifier/tnum.h"

namespace xnic::vm::verifier {

// What is known of a value of one width as a range of signed and a range of unsigned numbers, both
// inclusive. S is int64_t or int32_t. Operations leave each range sound for itself; what the two
// tell each other is refine()'s work. Test: tests/vm/verifier/bounds_test.cpp.
template <class S>
struct Interval {
  using U = std::make_unsigned_t<S>;
  static constexpr S kMinSigned = std::numeric_limits<S>::min();
  static constexpr S kMaxSigned = std::numeric_limits<S>::max();
  static constexpr U kMaxUnsigned = std::numeric_limits<U>::max();
  static constexpr uint32_t kWidth = 8 * sizeof(S);

  S smin = kMinSigned;
  S smax = kMaxSigned;
  U umin = 0;
  U umax = kMaxUnsigned;

  static constexpr Interval unknown() { return {}; }
  static constexpr Interval constant(U value) {
    return {static_cast<S>(value), static_cast<S>(value), value, value};
  }

  constexpr bool is_constant() const { return umin == umax && smin == smax; }
  constexpr bool is_empty() const { return smin > smax || umin > umax; }
  constexpr bool contains(U value) const {
    return umin <= value && value <= umax && smin <= static_cast<S>(value) &&
           static_cast<S>(value) <= smax;
  }
  constexpr bool covers(const Interval& other) const {
    return umin <= other.umin && other.umax <= umax && smin <= other.smin && other.smax <= smax;
  }

  void keep_signed(S least, S most) {
    smin = std::max(smin, least);
    smax = std::min(smax, most);
  }
  void keep_unsigned(U least, U most) {
    umin = std::max(umin, least);
    umax = std::min(umax, most);
  }
  void keep(const Interval& other) {
    keep_signed(other.smin, other.smax);
    keep_unsigned(other.umin, other.umax);
  }
  void exclude(U value) {
    if (umin == value) ++umin;
    if (umax == value) --umax;
    if (smin == static_cast<S>(value)) smin = static_cast<S>(value + 1);
    if (smax == static_cast<S>(value)) smax = static_cast<S>(value - 1);
  }

  // Takes over what the bits of this width say.
  void learn(Tnum bits) {
    constexpr U kSign = U{1} << (kWidth - 1);
    const U value = static_cast<U>(bits.value);
    const U mask = static_cast<U>(bits.mask);
    keep_unsigned(value, value | mask);
    keep_signed(static_cast<S>(value | (mask & kSign)), static_cast<S>(value | (mask & ~kSign)));
  }

  // The two ranges are arcs of one circle of numbers, cut at different places.
  void refine() {
    // An unsigned arc that does not cross the sign bit is a signed range, and the other way around.
    if (static_cast<S>(umin) <= static_cast<S>(umax)) {
      keep_signed(static_cast<S>(umin), static_cast<S>(umax));
    }
    const U low = static_cast<U>(smin);
    const U high = static_cast<U>(smax);
    if (low <= high) {
      keep_unsigned(low, high);
    } else if (umax < low) {
      // The signed range is negative at one end and not at the other; the unsigned one meets only
      // the part that is not.
      smin = static_cast<S>(umin);
      umax = std::min(umax, high);
    } else if (high < umin) {
      smax = static_cast<S>(umax);
      umin = std::max(umin, low);
    }
  }

  void add(const Interval& other) {
    S least;
    S most;
    if (__builtin_add_overflow(smin, other.smin, &least) ||
        __builtin_add_overflow(smax, other.smax, &most)) {
      forget_signed();
    } else {
      smin = least;
      smax = most;
    }
    // If all sums wrap around, their order stays.
    const bool least_wraps = __builtin_add_overflow(umin, other.umin, &umin);
    const bool most_wraps = __builtin_add_overflow(umax, other.umax, &umax);
    if (least_wraps != most_wraps) forget_unsigned();
  }

  void subtract(const Interval& other) {
    S least;
    S most;
    if (__builtin_sub_overflow(smin, other.smax, &least) ||
        __builtin_sub_overflow(smax, other.smin, &most)) {
      forget_signed();
    } else {
      smin = least;
      smax = most;
    }
    const bool least_wraps = __builtin_sub_overflow(umin, other.umax, &umin);
    const bool most_wraps = __builtin_sub_overflow(umax, other.umin, &umax);
    if (least_wraps != most_wraps) forget_unsigned();
  }

  // Ranges of products that cannot wrap around.
  void multiply(const Interval& other) {
    const bool wraps = __builtin_mul_overflow(umin, other.umin, &umin) |
                       __builtin_mul_overflow(umax, other.umax, &umax);
    if (wraps) forget_unsigned();
    S corners[4];
    const bool signed_wraps = __builtin_mul_overflow(smin, other.smin, &corners[0]) |
                              __builtin_mul_overflow(smin, other.smax, &corners[1]) |
                              __builtin_mul_overflow(smax, other.smin, &corners[2]) |
                              __builtin_mul_overflow(smax, other.smax, &corners[3]);
    if (signed_wraps) {
      forget_signed();
    } else {
      smin = *std::min_element(corners, corners + 4);
      smax = *std::max_element(corners, corners + 4);
    }
  }

  // `result` is what the bits of the result are known to be.
  void bitwise_and(const Interval& other, Tnum result) {
    umin = static_cast<U>(result.min());
    umax = std::min(umax, other.umax);
    take_signed_from_unsigned();
  }
  void bitwise_or(const Interval& other, Tnum result) {
    umin = std::max(umin, other.umin);
    umax = static_cast<U>(result.max());
    take_signed_from_unsigned();
  }
  void bitwise_xor(Tnum result) {
    umin = static_cast<U>(result.min());
    umax = static_cast<U>(result.max());
    take_signed_from_unsigned();
  }

  // Shifts by a constant.
  void shift_left(uint64_t by) {
    forget_signed();
    if (by >= kWidth || umax > U{1} << (kWidth - 1 - by)) {
      forget_unsigned();
    } else {
      umin <<= by;
      umax <<= by;
    }
  }
  void shift_right(uint64_t by) {
    forget_signed();
    umin >>= by;
    umax >>= by;
  }
  void shift_right_signed(uint64_t by) {
    forget_unsigned();
    smin >>= by;
    smax >>= by;
  }

  bool operator==(const Interval&) const = default;

 private:
  void forget_signed() {
    smin = kMinSigned;
    smax = kMaxSigned;
  }
  void forget_unsigned() {
    umin = 0;
    umax = kMaxUnsigned;
  }
  void take_signed_from_unsigned() {
    forget_signed();
    if (static_cast<S>(umin) <= static_cast<S>(umax)) {
      smin = static_cast<S>(umin);
      smax = static_cast<S>(umax);
    }
  }
};

}  // namespace xnic::vm::verifier
