#include "vm/verifier/condition.h"

#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "tests/vm/verifier/samples.h"

namespace xnic::vm::verifier {
namespace {

constexpr int kRounds = 50'000;

template <class U>
bool holds(uint8_t operation, U a, U b) {
  using S = std::make_signed_t<U>;
  const auto x = static_cast<S>(a);
  const auto y = static_cast<S>(b);
  switch (operation) {
    case BPF_JEQ:
      return a == b;
    case BPF_JNE:
      return a != b;
    case BPF_JSET:
      return (a & b) != 0;
    case BPF_JGT:
      return a > b;
    case BPF_JGE:
      return a >= b;
    case BPF_JLT:
      return a < b;
    case BPF_JLE:
      return a <= b;
    case BPF_JSGT:
      return x > y;
    case BPF_JSGE:
      return x >= y;
    case BPF_JSLT:
      return x < y;
    default:  // BPF_JSLE
      return x <= y;
  }
}

bool holds(uint8_t operation, uint32_t width, uint64_t a, uint64_t b) {
  return width == 8
             ? holds<uint64_t>(operation, a, b)
             : holds<uint32_t>(operation, static_cast<uint32_t>(a), static_cast<uint32_t>(b));
}

constexpr uint8_t kOperations[] = {BPF_JEQ, BPF_JNE,  BPF_JSET, BPF_JGT,  BPF_JGE, BPF_JLT,
                                   BPF_JLE, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE};

TEST(Condition, OutcomesAndAssumptionsFitEveryNumber) {
  Samples samples(5);
  int decided = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<uint64_t> left = samples.numbers();
    std::vector<uint64_t> right = samples.numbers();
    if (samples.random() % 2 == 0) right.resize(1);
    if (samples.random() % 4 == 0) right = left;
    Bounds a = hull(left);
    Bounds b = hull(right);
    a.sync();
    b.sync();
    for (const uint8_t operation : kOperations) {
      for (const uint32_t width : {4u, 8u}) {
        const std::optional<bool> known = outcome(operation, width, a, b);
        decided += known.has_value() ? 1 : 0;
        for (const bool taken : {false, true}) {
          Bounds narrow_a = a;
          Bounds narrow_b = b;
          assume(operation, width, taken, narrow_a, narrow_b);
          // They need not lie within what was known before: Linux forgets some of it.
          for (const uint64_t x : left) {
            for (const uint64_t y : right) {
              if (holds(operation, width, x, y) != taken) continue;
              ASSERT_NE(known, !taken) << x << " " << int{operation} << " " << y;
              ASSERT_TRUE(narrow_a.contains(x)) << x << " " << int{operation} << " " << y;
              ASSERT_TRUE(narrow_b.contains(y)) << x << " " << int{operation} << " " << y;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(decided, kRounds);
}

TEST(Condition, DecidesAndNarrowsAsLoopsAndBoundsChecksNeed) {
  Bounds unknown = Bounds::unknown();
  Bounds limit = Bounds::constant(100);
  assume(BPF_JGT, 8, false, unknown, limit);
  EXPECT_EQ(unknown.full.umax, 100u);
  EXPECT_EQ(outcome(BPF_JLE, 8, unknown, Bounds::constant(100)), true);
  EXPECT_EQ(outcome(BPF_JGT, 8, unknown, Bounds::constant(100)), false);
  EXPECT_EQ(outcome(BPF_JGT, 8, unknown, Bounds::constant(99)), std::nullopt);
  assume(BPF_JNE, 8, true, unknown, limit);
  EXPECT_EQ(unknown.full.umax, 99u);
  Bounds flags = Bounds::unknown();
  Bounds bit = Bounds::constant(4);
  assume(BPF_JSET, 8, false, flags, bit);
  EXPECT_EQ(outcome(BPF_JSET, 8, flags, Bounds::constant(4)), false);
  // As Linux has it, what is left are the bits alone.
  Bounds above = Bounds::unknown();
  above.full.keep_unsigned(9, 100);
  above.sync();
  assume(BPF_JSET, 8, false, above, bit);
  EXPECT_EQ(above.full.umin, 0u);
  EXPECT_EQ(above.full.umax, 0x7bu);
}

TEST(Condition, ExchangedSidesSayTheSame) {
  Samples samples(6);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t x = samples.number();
    const uint64_t y = samples.number();
    for (const uint8_t operation : kOperations) {
      ASSERT_EQ(holds(operation, 8, x, y), holds(exchanged(operation), 8, y, x));
    }
  }
}

}  // namespace
}  // namespace xnic::vm::verifier
