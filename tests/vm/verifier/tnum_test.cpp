#include "vm/verifier/tnum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

namespace xnic::vm::verifier {
namespace {

constexpr uint32_t kWidth = 4;  // bits; every tristate number of so few is tried
constexpr uint64_t kEnd = 1u << kWidth;

std::vector<Tnum> all() {
  std::vector<Tnum> numbers;
  for (uint64_t mask = 0; mask < kEnd; ++mask) {
    for (uint64_t value = 0; value < kEnd; ++value) {
      if ((value & mask) == 0) numbers.push_back({value, mask});
    }
  }
  return numbers;
}

std::vector<uint64_t> members(Tnum number) {
  std::vector<uint64_t> found;
  for (uint64_t x = 0; x < kEnd; ++x) {
    if ((x & ~number.mask) == number.value) found.push_back(x);
  }
  return found;
}

// The smallest number that covers all of `values`, bit by bit.
Tnum smallest(const std::vector<uint64_t>& values) {
  uint64_t ones = UINT64_MAX;
  uint64_t zeros = UINT64_MAX;
  for (const uint64_t value : values) {
    ones &= value;
    zeros &= ~value;
  }
  return {ones, ~(ones | zeros)};
}

struct Operation {
  const char* name;
  std::function<Tnum(Tnum, Tnum)> abstract;
  std::function<uint64_t(uint64_t, uint64_t)> concrete;
  bool exact;  // gives the smallest number
};

const std::vector<Operation> kOperations = {
    {"+", [](Tnum a, Tnum b) { return a + b; }, std::plus<uint64_t>(), true},
    {"-", [](Tnum a, Tnum b) { return a - b; }, std::minus<uint64_t>(), true},
    {"*", [](Tnum a, Tnum b) { return a * b; }, std::multiplies<uint64_t>(), false},
    {"&", [](Tnum a, Tnum b) { return a & b; }, std::bit_and<uint64_t>(), true},
    {"|", [](Tnum a, Tnum b) { return a | b; }, std::bit_or<uint64_t>(), true},
    {"^", [](Tnum a, Tnum b) { return a ^ b; }, std::bit_xor<uint64_t>(), true},
};

TEST(Tnum, NextIsTheSmallestMemberAbove) {
  for (const Tnum number : all()) {
    const std::vector<uint64_t> found = members(number);
    for (uint64_t x = 0; x < kEnd; ++x) {
      const auto above = std::ranges::upper_bound(found, x);
      const uint64_t expected = above == found.end() ? found.back() : *above;
      EXPECT_EQ(number.next_after(x), expected) << number.value << "/" << number.mask << " " << x;
    }
  }
}

TEST(Tnum, OperationsCoverEveryResult) {
  for (const Operation& operation : kOperations) {
    for (const Tnum a : all()) {
      for (const Tnum b : all()) {
        const Tnum result = operation.abstract(a, b);
        ASSERT_EQ(result.value & result.mask, 0u);
        std::vector<uint64_t> results;
        for (const uint64_t x : members(a)) {
          for (const uint64_t y : members(b)) {
            results.push_back(operation.concrete(x, y));
            ASSERT_TRUE(result.contains(results.back())) << x << operation.name << y;
          }
        }
        if (!operation.exact) continue;
        ASSERT_EQ(result, smallest(results)) << operation.name;
      }
    }
  }
}

TEST(Tnum, ShiftsMoveEveryMember) {
  for (const Tnum a : all()) {
    // Into the upper half, so that signs are met.
    for (const uint32_t up : {0u, 28u, 60u}) {
      const Tnum number = a.shifted_left(up);
      for (const uint64_t x : members(a)) {
        ASSERT_TRUE(number.contains(x << up));
        for (uint32_t by = 0; by < 8; ++by) {
          ASSERT_TRUE(number.shifted_right(by).contains((x << up) >> by));
          const auto wide = static_cast<int64_t>(x << up) >> by;
          ASSERT_TRUE(number.shifted_right_signed(by, 64).contains(static_cast<uint64_t>(wide)));
          const auto narrow = static_cast<int32_t>(x << up) >> by;
          ASSERT_TRUE(number.low_half().shifted_right_signed(by, 32).contains(
              static_cast<uint32_t>(narrow)));
        }
      }
    }
  }
}

TEST(Tnum, SetOperationsAgreeWithSets) {
  for (const Tnum a : all()) {
    for (const Tnum b : all()) {
      std::vector<uint64_t> both;
      std::vector<uint64_t> either = members(a);
      bool covers = true;
      for (const uint64_t y : members(b)) {
        const bool shared = a.contains(y);
        if (shared) both.push_back(y);
        covers = covers && shared;
        either.push_back(y);
      }
      ASSERT_EQ(a.covers(b), covers);
      ASSERT_EQ(a.overlaps(b), !both.empty());
      ASSERT_EQ(join(a, b), smallest(either));
      if (both.empty()) continue;
      ASSERT_EQ(intersection(a, b), smallest(both));
    }
  }
}

TEST(Tnum, RangeIsTheSmallestOfItsNumbers) {
  for (uint64_t min = 0; min < 2 * kEnd; ++min) {
    std::vector<uint64_t> numbers;
    for (uint64_t max = min; max < 2 * kEnd; ++max) {
      numbers.push_back(max);
      const Tnum range = Tnum::range(min, max);
      for (const uint64_t x : numbers) ASSERT_TRUE(range.contains(x));
      ASSERT_EQ(range, smallest(numbers)) << min << ".." << max;
    }
  }
  EXPECT_EQ(Tnum::range(0, UINT64_MAX), Tnum::unknown());
  EXPECT_EQ(Tnum::range(5, UINT64_MAX), Tnum::unknown());
}

TEST(Tnum, KnowsAlignmentAndHalves) {
  EXPECT_TRUE((Tnum{4, 8}.is_aligned(4)));
  EXPECT_FALSE((Tnum{4, 2}.is_aligned(4)));
  const Tnum number{0x1234'5678'0000'0000, 0xff};
  EXPECT_EQ(number.low_half(), (Tnum{0, 0xff}));
  EXPECT_EQ(number.high_half(), Tnum::constant(0x1234'5678'0000'0000));
  EXPECT_EQ(number.with_low_half(Tnum::constant(7)), Tnum::constant(0x1234'5678'0000'0007));
  EXPECT_EQ((Tnum{0x12ff, 0xf0000}.truncated(2)), Tnum::constant(0x12ff));
}

}  // namespace
}  // namespace xnic::vm::verifier
