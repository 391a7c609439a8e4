#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace xnic::vm::alu {

// The arithmetic of RFC 9669, section 4.1, for T = uint32_t and uint64_t. The offset field of the
// instruction makes division and modulo signed (1) and moves sign-extending (8, 16, 32).

template <class T>
using Signed = std::make_signed_t<T>;

template <class T>
constexpr T shift_count(T count) {
  return count & (sizeof(T) * 8 - 1);
}

template <class T>
constexpr T add(T a, T b, int16_t) {
  return a + b;
}
template <class T>
constexpr T subtract(T a, T b, int16_t) {
  return a - b;
}
template <class T>
constexpr T multiply(T a, T b, int16_t) {
  return a * b;
}
template <class T>
constexpr T divide(T a, T b, int16_t is_signed) {
  if (b == 0) return 0;
  if (is_signed == 0) return a / b;
  if (b == static_cast<T>(-1)) return T{0} - a;  // also where the quotient overflows
  return static_cast<T>(static_cast<Signed<T>>(a) / static_cast<Signed<T>>(b));
}
template <class T>
constexpr T modulo(T a, T b, int16_t is_signed) {
  if (b == 0) return a;
  if (is_signed == 0) return a % b;
  if (b == static_cast<T>(-1)) return 0;
  return static_cast<T>(static_cast<Signed<T>>(a) % static_cast<Signed<T>>(b));
}
template <class T>
constexpr T bit_or(T a, T b, int16_t) {
  return a | b;
}
template <class T>
constexpr T bit_and(T a, T b, int16_t) {
  return a & b;
}
template <class T>
constexpr T bit_xor(T a, T b, int16_t) {
  return a ^ b;
}
template <class T>
constexpr T shift_left(T a, T b, int16_t) {
  return a << shift_count(b);
}
template <class T>
constexpr T shift_right(T a, T b, int16_t) {
  return a >> shift_count(b);
}
template <class T>
constexpr T shift_right_signed(T a, T b, int16_t) {
  return static_cast<T>(static_cast<Signed<T>>(a) >> shift_count(b));
}
template <class T>
constexpr T move(T, T b, int16_t bits) {
  switch (bits) {
    case 8:
      return static_cast<T>(static_cast<Signed<T>>(static_cast<int8_t>(b)));
    case 16:
      return static_cast<T>(static_cast<Signed<T>>(static_cast<int16_t>(b)));
    case 32:
      return static_cast<T>(static_cast<Signed<T>>(static_cast<int32_t>(b)));
    default:
      return b;
  }
}

// The low `bits` of the value with their bytes reversed, the rest zero.
constexpr uint64_t swap_bytes(uint64_t value, int32_t bits) {
  switch (bits) {
    case 16:
      return __builtin_bswap16(static_cast<uint16_t>(value));
    case 32:
      return __builtin_bswap32(static_cast<uint32_t>(value));
    default:
      return __builtin_bswap64(value);
  }
}

constexpr uint64_t truncate(uint64_t value, int32_t bits) {
  return bits == 64 ? value : value & ((uint64_t{1} << bits) - 1);
}

// To little or big endian order, on a host of either.
constexpr uint64_t to_little_endian(uint64_t value, int32_t bits) {
  return std::endian::native == std::endian::little ? truncate(value, bits)
                                                    : swap_bytes(value, bits);
}
constexpr uint64_t to_big_endian(uint64_t value, int32_t bits) {
  return std::endian::native == std::endian::big ? truncate(value, bits) : swap_bytes(value, bits);
}

}  // namespace xnic::vm::alu
