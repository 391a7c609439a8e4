#include "vm/verifier/bounds.h"

namespace xnic::vm::verifier {
namespace {

constexpr uint64_t high_of(uint64_t value) { return value >> 32; }
constexpr uint64_t with_low(uint64_t value, uint32_t low) {
  return (value & ~uint64_t{UINT32_MAX}) | low;
}

// Low parts of a 64-bit range `from`..`to` whose ends agree above, or whose upper halves are
// neighbours.
void keep_low_parts(Interval<int32_t>& low, uint64_t from, uint64_t to) {
  const auto first = static_cast<uint32_t>(from);
  const auto last = static_cast<uint32_t>(to);
  const auto signed_first = static_cast<int32_t>(first);
  const auto signed_last = static_cast<int32_t>(last);
  if (high_of(from) == high_of(to)) {
    if (first <= last) low.keep_unsigned(first, last);
    if (signed_first <= signed_last) low.keep_signed(signed_first, signed_last);
  }
  // Such a range crosses a multiple of 2^32, where the low part, as a signed number, crosses 0.
  if (static_cast<uint32_t>(high_of(from) + 1) == static_cast<uint32_t>(high_of(to)) &&
      signed_first < 0 && signed_last >= 0) {
    low.keep_signed(signed_first, signed_last);
  }
}

// Puts a range of the low part in the place of the low parts of both ends.
void tighten_ends(Interval<int64_t>& full, uint32_t low_min, uint32_t low_max) {
  full.keep_unsigned(with_low(full.umin, low_min), with_low(full.umax, low_max));
  full.keep_signed(static_cast<int64_t>(with_low(static_cast<uint64_t>(full.smin), low_min)),
                   static_cast<int64_t>(with_low(static_cast<uint64_t>(full.smax), low_max)));
}

template <class Narrow>
Bounds sign_extended(const Bounds& from) {
  constexpr uint32_t kBits = 8 * sizeof(Narrow);
  Bounds to;
  to.bits = from.bits.shifted_left(64 - kBits).shifted_right_signed(64 - kBits, 64);
  const auto least = static_cast<int64_t>(static_cast<Narrow>(from.full.smin));
  const auto most = static_cast<int64_t>(static_cast<Narrow>(from.full.smax));
  if (from.full.smin >> kBits == from.full.smax >> kBits && least <= most) {
    to.full.keep_signed(least, most);
  } else {
    to.full.keep_signed(std::numeric_limits<Narrow>::min(), std::numeric_limits<Narrow>::max());
  }
  if constexpr (kBits == 32) {
    to.full.keep_signed(from.low.smin, from.low.smax);
    to.low = from.low;
  }
  return to;
}

}  // namespace

Bounds Bounds::constant(uint64_t value) {
  return {Tnum::constant(value), Interval<int64_t>::constant(value),
          Interval<int32_t>::constant(static_cast<uint32_t>(value))};
}

bool Bounds::is_consistent() const {
  if (full.is_empty() || low.is_empty()) return false;
  if (bits.is_constant() && full != Interval<int64_t>::constant(bits.value)) return false;
  const Tnum half = bits.low_half();
  return !half.is_constant() ||
         low == Interval<int32_t>::constant(static_cast<uint32_t>(half.value));
}

bool Bounds::contains(uint64_t value) const {
  return bits.contains(value) && full.contains(value) && low.contains(static_cast<uint32_t>(value));
}

void Bounds::learn_from_bits() {
  full.learn(bits);
  low.learn(bits.low_half());
  // If the range holds one member of the bits, the number is that. Where it holds none, on branches
  // that are never taken, Linux takes the largest for it.
  const uint64_t next = bits.next_after(full.umin);
  if (bits.contains(full.umin)) {
    if (next > full.umax) *this = constant(full.umin);
  } else if (next == bits.max() || (next <= full.umax && bits.next_after(next) > full.umax)) {
    *this = constant(next);
  }
}

void Bounds::refine_low_from_full() {
  keep_low_parts(low, full.umin, full.umax);
  keep_low_parts(low, static_cast<uint64_t>(full.smin), static_cast<uint64_t>(full.smax));
  low.refine();
}

void Bounds::refine_full_from_low() {
  tighten_ends(full, low.umin, low.umax);
  if (static_cast<uint32_t>(low.smin) <= static_cast<uint32_t>(low.smax)) {
    tighten_ends(full, static_cast<uint32_t>(low.smin), static_cast<uint32_t>(low.smax));
  }
  // Of a sign-extended number whose low part is not negative, the upper part is 0: were it all
  // ones, the number would lie below the smallest that 32 bits hold.
  if (low.smin >= 0 && full.smin >= INT32_MIN && full.smax <= INT32_MAX) {
    // Linux puts the low part's range in the place of the whole one's, even where that was smaller.
    full = {low.smin, low.smax, static_cast<uint64_t>(low.smin), static_cast<uint64_t>(low.smax)};
    bits = intersection(bits, Tnum::range(full.umin, full.umax));
  }
}

bool Bounds::is_same_below_sign() const {
  const auto least = static_cast<int64_t>(full.umin);
  const auto most = static_cast<int64_t>(full.umax);
  return full.umax <= INT32_MAX && full.umin <= full.umax && full.smin == least &&
         full.smax == most && low.smin == least && low.smax == most && low.umin == full.umin &&
         low.umax == full.umax;
}

void Bounds::sync() {
  learn_from_bits();
  // Nothing more to learn, as of most numbers.
  if (bits.is_constant() ? full.is_constant() && low.is_constant() : is_unknown()) return;
  // A round that changes nothing is the last: so would be the next. Small numbers need none.
  for (int round = 0; round < 3 && !is_same_below_sign(); ++round) {
    const Bounds before = *this;
    refine_low_from_full();
    full.refine();
    refine_full_from_low();
    if (*this == before) break;
  }
  const Tnum whole = intersection(bits, Tnum::range(full.umin, full.umax));
  bits = whole.with_low_half(
      intersection(whole.low_half(), Tnum::range(low.umin, low.umax)).low_half());
  learn_from_bits();
}

void Bounds::zero_extend() {
  bits = bits.low_half();
  full.umin = low.umin;
  full.umax = low.umax;
  if (low.smin >= 0) {
    full.smin = low.smin;
    full.smax = low.smax;
  } else {
    full.smin = 0;
    full.smax = UINT32_MAX;
  }
}

void Bounds::truncate(uint32_t bytes) {
  bits = bits.truncated(bytes);
  const uint64_t kept = (uint64_t{1} << (8 * bytes)) - 1;
  if ((full.umin & ~kept) == (full.umax & ~kept)) {
    full.umin &= kept;
    full.umax &= kept;
  } else {
    full.umin = 0;
    full.umax = kept;
  }
  full.smin = static_cast<int64_t>(full.umin);
  full.smax = static_cast<int64_t>(full.umax);
  // The low part of a 4-byte value stays what it was.
  if (bytes < 4) low = Interval<int32_t>::unknown();
  sync();
}

void Bounds::sign_extend(uint32_t bytes) {
  if (bytes >= 8) return;
  *this = bytes == 1   ? sign_extended<int8_t>(*this)
          : bytes == 2 ? sign_extended<int16_t>(*this)
                       : sign_extended<int32_t>(*this);
  sync();
}

void Bounds::sign_extend_low(uint32_t bytes) {
  const uint32_t bits_kept = 8 * bytes;
  const Tnum half =
      bits.shifted_left(32 - bits_kept).low_half().shifted_right_signed(32 - bits_kept, 32);
  const auto cut = [bytes](int32_t value) {
    return bytes == 1 ? int32_t{static_cast<int8_t>(value)} : int32_t{static_cast<int16_t>(value)};
  };
  const int32_t least = cut(low.smin);
  const int32_t most = cut(low.smax);
  const bool same_above = low.smin >> bits_kept == low.smax >> bits_kept;
  low = Interval<int32_t>::unknown();
  if (same_above && least <= most) {
    low.keep_signed(least, most);
  } else {
    low.keep_signed(bytes == 1 ? INT8_MIN : INT16_MIN, bytes == 1 ? INT8_MAX : INT16_MAX);
  }
  low.learn(half);
  low.refine();
  bits = bits.with_low_half(half);
  full = Interval<int64_t>::unknown();
}

}  // namespace xnic::vm::verifier
