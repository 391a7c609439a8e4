#include "vm/verifier/arithmetic.h"

#include <linux/bpf.h>

namespace xnic::vm::verifier {
namespace {

bool is_shift(uint8_t operation) {
  return operation == BPF_LSH || operation == BPF_RSH || operation == BPF_ARSH;
}

// Whether the amount of a shift is one number, smaller than the width.
bool is_known_amount(const Bounds& amount, uint32_t width) {
  const bool constant = width == 4
                            ? amount.bits.low_half().is_constant() && amount.low.is_constant()
                            : amount.is_constant() && amount.full.is_constant();
  return constant && amount.full.umax < 8 * width;
}

void shift(uint8_t operation, uint32_t width, Bounds& value, uint32_t by) {
  const Tnum source = width == 4 ? value.bits.low_half() : value.bits;
  switch (operation) {
    case BPF_LSH: {
      // A shift by 32 puts the low half's signed range in the upper half.
      const Interval<int32_t> low = value.low;
      value.low.shift_left(by);
      value.full.shift_left(by);
      if (width == 8 && by == 32) {
        value.full.smin = static_cast<int64_t>(low.smin) * (int64_t{1} << 32);
        value.full.smax = static_cast<int64_t>(low.smax) * (int64_t{1} << 32);
      }
      value.bits = source.shifted_left(by);
      break;
    }
    case BPF_RSH:
      value.bits = source.shifted_right(by);
      if (width == 4) {
        value.low.shift_right(by);
      } else {
        value.full.shift_right(by);
        value.low = Interval<int32_t>::unknown();
      }
      break;
    default:
      value.bits = source.shifted_right_signed(by, 8 * width);
      if (width == 4) {
        value.low.shift_right_signed(by);
      } else {
        value.full.shift_right_signed(by);
        value.low = Interval<int32_t>::unknown();
      }
      break;
  }
  if (width == 4) {
    value.bits = value.bits.low_half();
    value.low.learn(value.bits);
  }
}

}  // namespace

Bounds apply(uint8_t operation, uint32_t width, Bounds left, const Bounds& right) {
  if (is_shift(operation) && !is_known_amount(right, width)) return Bounds::unknown();
  switch (operation) {
    case BPF_NEG: {
      const Bounds value = left;
      left = Bounds::constant(0);
      left.low.subtract(value.low);
      left.full.subtract(value.full);
      left.bits = left.bits - value.bits;
      break;
    }
    case BPF_ADD:
      left.low.add(right.low);
      left.full.add(right.full);
      left.bits = left.bits + right.bits;
      break;
    case BPF_SUB:
      left.low.subtract(right.low);
      left.full.subtract(right.full);
      left.bits = left.bits - right.bits;
      break;
    case BPF_MUL:
      left.low.multiply(right.low);
      left.full.multiply(right.full);
      left.bits = left.bits * right.bits;
      break;
    case BPF_AND:
      left.bits = left.bits & right.bits;
      left.low.bitwise_and(right.low, left.bits.low_half());
      left.full.bitwise_and(right.full, left.bits);
      break;
    case BPF_OR:
      left.bits = left.bits | right.bits;
      left.low.bitwise_or(right.low, left.bits.low_half());
      left.full.bitwise_or(right.full, left.bits);
      break;
    case BPF_XOR:
      left.bits = left.bits ^ right.bits;
      left.low.bitwise_xor(left.bits.low_half());
      left.full.bitwise_xor(left.bits);
      break;
    case BPF_LSH:
    case BPF_RSH:
    case BPF_ARSH:
      shift(operation, width, left, static_cast<uint32_t>(right.full.umax));
      break;
    default:
      return Bounds::unknown();
  }
  if (width == 4) left.zero_extend();
  left.sync();
  return left;
}

}  // namespace xnic::vm::verifier
