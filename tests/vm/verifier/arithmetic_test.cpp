#include "vm/verifier/arithmetic.h"

#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "tests/vm/verifier/samples.h"

namespace xnic::vm::verifier {
namespace {

constexpr int kRounds = 100'000;

// RFC 9669, section 4.1.
template <class U>
U compute(uint8_t operation, U a, U b) {
  using S = std::make_signed_t<U>;
  constexpr U kAmount = 8 * sizeof(U) - 1;
  switch (operation) {
    case BPF_ADD:
      return a + b;
    case BPF_SUB:
      return a - b;
    case BPF_MUL:
      return a * b;
    case BPF_DIV:
      return b == 0 ? 0 : a / b;
    case BPF_MOD:
      return b == 0 ? a : a % b;
    case BPF_AND:
      return a & b;
    case BPF_OR:
      return a | b;
    case BPF_XOR:
      return a ^ b;
    case BPF_LSH:
      return a << (b & kAmount);
    case BPF_RSH:
      return a >> (b & kAmount);
    case BPF_ARSH:
      return static_cast<U>(static_cast<S>(a) >> (b & kAmount));
    default:  // BPF_NEG
      return -a;
  }
}

constexpr uint8_t kOperations[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_MOD,  BPF_AND,
                                   BPF_OR,  BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH, BPF_NEG};

TEST(Arithmetic, CoversEveryResult) {
  Samples samples(3);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<uint64_t> left = samples.numbers();
    std::vector<uint64_t> right = samples.numbers();
    // Amounts that shifts compute with.
    if (samples.random() % 3 == 0) right = {samples.random() % 64};
    Bounds a = hull(left);
    Bounds b = hull(right);
    a.sync();
    b.sync();
    for (const uint8_t operation : kOperations) {
      const Bounds wide = apply(operation, 8, a, b);
      const Bounds narrow = apply(operation, 4, a, b);
      ASSERT_TRUE(wide.is_consistent());
      ASSERT_TRUE(narrow.is_consistent());
      for (const uint64_t x : left) {
        for (const uint64_t y : right) {
          ASSERT_TRUE(wide.contains(compute(operation, x, y)))
              << std::hex << x << " operation " << int{operation} << " " << y;
          ASSERT_TRUE(narrow.contains(
              compute(operation, static_cast<uint32_t>(x), static_cast<uint32_t>(y))))
              << std::hex << x << " 32-bit operation " << int{operation} << " " << y;
        }
      }
    }
  }
}

TEST(Arithmetic, IsExactForConstants) {
  Samples samples(4);
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t x = samples.number();
    const uint64_t y = samples.number() % 32;
    for (const uint8_t operation : kOperations) {
      if (operation == BPF_DIV || operation == BPF_MOD) continue;
      ASSERT_EQ(apply(operation, 8, Bounds::constant(x), Bounds::constant(y)),
                Bounds::constant(compute(operation, x, y)));
      ASSERT_EQ(
          apply(operation, 4, Bounds::constant(x), Bounds::constant(y)),
          Bounds::constant(compute(operation, static_cast<uint32_t>(x), static_cast<uint32_t>(y))));
    }
  }
}

TEST(Arithmetic, KeepsTheRangesThatProgramsRelyOn) {
  Bounds byte = Bounds::unknown();
  byte.truncate(1);
  EXPECT_EQ(apply(BPF_AND, 8, Bounds::unknown(), Bounds::constant(15)).full.umax, 15u);
  EXPECT_EQ(apply(BPF_LSH, 8, byte, Bounds::constant(2)).full.umax, 1020u);
  EXPECT_EQ(apply(BPF_LSH, 8, byte, Bounds::constant(2)).bits, (Tnum{0, 1020}));
  EXPECT_EQ(apply(BPF_RSH, 4, Bounds::unknown(), Bounds::constant(28)).full.umax, 15u);
  EXPECT_EQ(apply(BPF_MUL, 8, byte, Bounds::constant(20)).full.umax, 5100u);
  EXPECT_EQ(apply(BPF_ARSH, 8, Bounds::unknown(), Bounds::constant(63)).full.smin, -1);
  EXPECT_EQ(apply(BPF_ARSH, 8, Bounds::unknown(), Bounds::constant(63)).full.smax, 0);
  EXPECT_EQ(apply(BPF_ADD, 8, byte, byte).full.umax, 510u);
  EXPECT_EQ(apply(BPF_DIV, 8, byte, Bounds::constant(2)), Bounds::unknown());
}

}  // namespace
}  // namespace xnic::vm::verifier
