#include "vm/verifier/condition.h"

#include <linux/bpf.h>

#include <bit>
#include <utility>

namespace xnic::vm::verifier {
namespace {

// The condition as less-than or equality, perhaps negated.
struct Normal {
  uint8_t operation;  // BPF_JEQ, BPF_JSET, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE
  bool exchange;      // with the sides exchanged
  bool negate;
};

Normal normal(uint8_t operation, bool taken) {
  switch (operation) {
    case BPF_JNE:
      return {BPF_JEQ, false, taken};
    case BPF_JGT:
      return taken ? Normal{BPF_JLT, true, false} : Normal{BPF_JLE, false, false};
    case BPF_JGE:
      return taken ? Normal{BPF_JLE, true, false} : Normal{BPF_JLT, false, false};
    case BPF_JLT:
      return taken ? Normal{BPF_JLT, false, false} : Normal{BPF_JLE, true, false};
    case BPF_JLE:
      return taken ? Normal{BPF_JLE, false, false} : Normal{BPF_JLT, true, false};
    case BPF_JSGT:
      return taken ? Normal{BPF_JSLT, true, false} : Normal{BPF_JSLE, false, false};
    case BPF_JSGE:
      return taken ? Normal{BPF_JSLE, true, false} : Normal{BPF_JSLT, false, false};
    case BPF_JSLT:
      return taken ? Normal{BPF_JSLT, false, false} : Normal{BPF_JSLE, true, false};
    case BPF_JSLE:
      return taken ? Normal{BPF_JSLE, false, false} : Normal{BPF_JSLT, true, false};
    default:  // BPF_JEQ, BPF_JSET
      return {operation, false, !taken};
  }
}

template <class S>
bool never_equal(const Interval<S>& a, const Interval<S>& b) {
  return a.umin > b.umax || a.umax < b.umin || a.smin > b.smax || a.smax < b.smin;
}

std::optional<bool> equality(uint32_t width, const Bounds& a, const Bounds& b) {
  const bool low = width == 4;
  const Tnum left = low ? a.bits.low_half() : a.bits;
  const Tnum right = low ? b.bits.low_half() : b.bits;
  if (left.is_constant() && right.is_constant()) return left.value == right.value;
  if (!left.overlaps(right)) return false;
  if (never_equal(a.low, b.low) || (!low && never_equal(a.full, b.full))) return false;
  return {};
}

std::optional<bool> common_bits(uint32_t width, const Bounds& a, const Bounds& b) {
  const bool low = width == 4;
  const bool right_known = b.is_constant(low);
  const Bounds& constant = right_known ? b : a;
  if (!constant.is_constant(low)) return {};
  const Tnum other = (right_known ? a : b).bits;
  const uint64_t asked = constant.constant_value(low);
  if ((other.value & asked) != 0) return true;
  if ((other.max() & asked) == 0) return false;
  return {};
}

template <class S>
std::optional<bool> order(uint8_t operation, const Interval<S>& a, const Interval<S>& b) {
  const auto answer = [](bool always, bool never) -> std::optional<bool> {
    if (always) return true;
    if (never) return false;
    return {};
  };
  switch (operation) {
    case BPF_JLT:
      return answer(a.umax < b.umin, a.umin >= b.umax);
    case BPF_JLE:
      return answer(a.umax <= b.umin, a.umin > b.umax);
    case BPF_JSLT:
      return answer(a.smax < b.smin, a.smin >= b.smax);
    default:
      return answer(a.smax <= b.smin, a.smin > b.smax);
  }
}

template <class S>
void assume_order(uint8_t operation, Interval<S>& a, Interval<S>& b) {
  using I = Interval<S>;
  using U = typename I::U;
  switch (operation) {
    case BPF_JLT:
      a.umax = std::min(a.umax, static_cast<U>(b.umax - 1));
      b.umin = std::max(static_cast<U>(a.umin + 1), b.umin);
      break;
    case BPF_JLE:
      a.umax = std::min(a.umax, b.umax);
      b.umin = std::max(a.umin, b.umin);
      break;
    case BPF_JSLT:
      a.smax = std::min(a.smax, static_cast<S>(static_cast<U>(b.smax) - 1));
      b.smin = std::max(static_cast<S>(static_cast<U>(a.smin) + 1), b.smin);
      break;
    default:
      a.smax = std::min(a.smax, b.smax);
      b.smin = std::max(a.smin, b.smin);
      break;
  }
}

void assume_equal(bool low, Bounds& a, Bounds& b) {
  if (low) {
    a.low.keep(b.low);
    b.low = a.low;
    const Tnum half = intersection(a.bits.low_half(), b.bits.low_half());
    a.bits = a.bits.with_low_half(half);
    b.bits = b.bits.with_low_half(half);
  } else {
    a.full.keep(b.full);
    b.full = a.full;
    a.bits = intersection(a.bits, b.bits);
    b.bits = a.bits;
  }
}

// Of the conditions that say something only about a constant and another number: that number and
// the constant.
struct AgainstConstant {
  Bounds* other = nullptr;
  uint64_t constant = 0;
};
AgainstConstant against_constant(bool low, Bounds& a, Bounds& b) {
  if (b.is_constant(low)) return {&a, b.constant_value(low)};
  if (a.is_constant(low)) return {&b, a.constant_value(low)};
  return {};
}

void assume_unequal(bool low, Bounds& a, Bounds& b) {
  const auto [other, constant] = against_constant(low, a, b);
  if (other == nullptr) return;
  if (low) {
    other->low.exclude(static_cast<uint32_t>(constant));
  } else {
    other->full.exclude(constant);
  }
}

void assume_common_bits(bool low, bool some, Bounds& a, Bounds& b) {
  const auto [other, asked] = against_constant(low, a, b);
  if (other == nullptr) return;
  // Which of several bits is set stays open.
  if (some && !std::has_single_bit(asked)) return;
  // Linux forgets the ranges here, so that they cannot contradict the bits on a branch that no
  // number takes; what would stay of them must not tell more than Linux knows.
  if (!some) {
    other->full = {};
    other->low = {};
  }
  const Tnum bits = low ? other->bits.low_half() : other->bits;
  const Tnum known = some ? bits | Tnum::constant(asked) : bits & Tnum::constant(~asked);
  other->bits = low ? other->bits.with_low_half(known) : known;
}

}  // namespace

uint8_t exchanged(uint8_t operation) {
  switch (operation) {
    case BPF_JGT:
      return BPF_JLT;
    case BPF_JGE:
      return BPF_JLE;
    case BPF_JLT:
      return BPF_JGT;
    case BPF_JLE:
      return BPF_JGE;
    case BPF_JSGT:
      return BPF_JSLT;
    case BPF_JSGE:
      return BPF_JSLE;
    case BPF_JSLT:
      return BPF_JSGT;
    case BPF_JSLE:
      return BPF_JSGE;
    default:
      return operation;
  }
}

std::optional<bool> outcome(uint8_t operation, uint32_t width, const Bounds& left,
                            const Bounds& right) {
  const Normal form = normal(operation, true);
  const Bounds& a = form.exchange ? right : left;
  const Bounds& b = form.exchange ? left : right;
  std::optional<bool> holds;
  if (form.operation == BPF_JEQ) {
    holds = equality(width, a, b);
  } else if (form.operation == BPF_JSET) {
    holds = common_bits(width, a, b);
  } else {
    holds =
        width == 4 ? order(form.operation, a.low, b.low) : order(form.operation, a.full, b.full);
  }
  if (holds && form.negate) return !*holds;
  return holds;
}

void assume(uint8_t operation, uint32_t width, bool taken, Bounds& left, Bounds& right) {
  const Normal form = normal(operation, taken);
  Bounds& a = form.exchange ? right : left;
  Bounds& b = form.exchange ? left : right;
  const bool low = width == 4;
  if (form.operation == BPF_JEQ) {
    if (form.negate) {
      assume_unequal(low, a, b);
    } else {
      assume_equal(low, a, b);
    }
  } else if (form.operation == BPF_JSET) {
    assume_common_bits(low, !form.negate, a, b);
  } else if (low) {
    assume_order(form.operation, a.low, b.low);
  } else {
    assume_order(form.operation, a.full, b.full);
  }
  left.sync();
  right.sync();
}

}  // namespace xnic::vm::verifier
