#include "vm/verifier/bounds.h"

#include <gtest/gtest.h>

#include "tests/vm/verifier/samples.h"

namespace xnic::vm::verifier {
namespace {

constexpr int kRounds = 200'000;

TEST(Bounds, SyncLosesNoNumberAndKeepsSidesConsistent) {
  Samples samples(1);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<uint64_t> numbers = samples.numbers();
    Bounds bounds = hull(numbers);
    // Some sides know nothing.
    if (samples.random() % 2 == 0) bounds.bits = Tnum::unknown();
    if (samples.random() % 2 == 0) bounds.full = {};
    if (samples.random() % 2 == 0) bounds.low = {};
    const Bounds before = bounds;
    bounds.sync();
    for (const uint64_t x : numbers) ASSERT_TRUE(bounds.contains(x)) << x;
    ASSERT_TRUE(bounds.is_consistent());
    ASSERT_TRUE(before.covers(bounds));
  }
}

TEST(Bounds, SidesLearnFromEachOther) {
  Bounds bounds = Bounds::unknown();
  bounds.full.umax = 255;
  bounds.sync();
  EXPECT_EQ(bounds.full.smin, 0);
  EXPECT_EQ(bounds.full.smax, 255);
  EXPECT_EQ(bounds.low.umax, 255u);
  EXPECT_EQ(bounds.low.smin, 0);
  EXPECT_EQ(bounds.bits, (Tnum{0, 255}));

  // A 32-bit comparison tightens both ends of a 64-bit range.
  bounds = Bounds::unknown();
  bounds.full.keep_unsigned(0x1'0000'0000, 0x3'8000'0000);
  bounds.low.keep_signed(1, INT32_MAX);
  bounds.sync();
  EXPECT_EQ(bounds.full.umin, 0x1'0000'0001u);
  EXPECT_EQ(bounds.full.umax, 0x3'7fff'ffffu);

  // The unsigned range meets only the part of the signed one that is not negative.
  bounds = Bounds::unknown();
  bounds.full.keep_signed(-5, 10);
  bounds.full.keep_unsigned(0, uint64_t{1} << 63);
  bounds.sync();
  EXPECT_EQ(bounds.full.smin, 0);
  EXPECT_EQ(bounds.full.umax, 10u);

  // An int whose low half is not negative has an upper half of zeros.
  bounds = Bounds::unknown();
  bounds.full.keep_signed(INT32_MIN, INT32_MAX);
  bounds.low.keep_signed(3, 9);
  bounds.sync();
  EXPECT_EQ(bounds.full.umin, 3u);
  EXPECT_EQ(bounds.full.umax, 9u);
}

TEST(Bounds, TheOnlyMemberOfTheBitsInARangeIsTheNumber) {
  const Tnum multiple_of_64{0, 0xffc0};
  const struct {
    uint64_t least, most, only;
  } rows[] = {{1, 100, 64}, {64, 127, 64}, {0xff81, 0x20000, 0xffc0}};
  for (const auto& row : rows) {
    Bounds bounds = Bounds::unknown();
    bounds.bits = multiple_of_64;
    bounds.full.keep_unsigned(row.least, row.most);
    bounds.sync();
    EXPECT_EQ(bounds, Bounds::constant(row.only)) << row.least;
  }
}

TEST(Bounds, ContradictionsShow) {
  EXPECT_TRUE(Bounds::constant(5).is_consistent());
  Bounds bounds = Bounds::constant(5);
  bounds.full.umin = 6;
  EXPECT_FALSE(bounds.is_consistent());
  bounds = Bounds::unknown();
  bounds.low.smax = -1;
  bounds.low.smin = 1;
  EXPECT_FALSE(bounds.is_consistent());
}

TEST(Bounds, ChangesOfWidthLoseNoNumber) {
  Samples samples(2);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<uint64_t> numbers = samples.numbers();
    Bounds bounds = hull(numbers);
    bounds.sync();
    for (const uint32_t bytes : {1u, 2u, 4u}) {
      const uint32_t gone = 64 - 8 * bytes;
      Bounds cut = bounds;
      cut.truncate(bytes);
      Bounds extended = bounds;
      extended.sign_extend(bytes);
      Bounds low_extended = bounds;
      if (bytes < 4) low_extended.sign_extend_low(bytes);
      low_extended.zero_extend();
      low_extended.sync();
      for (const uint64_t x : numbers) {
        const auto with_sign = static_cast<uint64_t>(static_cast<int64_t>(x << gone) >> gone);
        ASSERT_TRUE(cut.contains(x << gone >> gone)) << x << " to " << bytes;
        ASSERT_TRUE(extended.contains(with_sign)) << x << " from " << bytes;
        ASSERT_TRUE(low_extended.contains(static_cast<uint32_t>(with_sign))) << x;
      }
      ASSERT_TRUE(cut.is_consistent());
      ASSERT_TRUE(extended.is_consistent());
      ASSERT_TRUE(low_extended.is_consistent());
    }
  }
}

}  // namespace
}  // namespace xnic::vm::verifier
