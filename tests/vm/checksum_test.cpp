// Internet checksums against their definition in RFC 1071 and the equation of RFC 1624, worked out
// here with plain modular arithmetic.
#include "vm/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace xnic::vm {
namespace {

using Bytes = std::vector<uint8_t>;

// RFC 1071, 1: the complement of the one's complement sum of 16-bit words, big-endian.
uint16_t defined_checksum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += bytes[i] << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0);
    if (sum > UINT16_MAX) sum -= UINT16_MAX;
  }
  return static_cast<uint16_t>(~sum);
}

uint16_t big_endian(uint16_t value) { return static_cast<uint16_t>(value << 8 | value >> 8); }

class Checksum : public testing::Test {
 protected:
  Bytes bytes(size_t size) {
    Bytes made(size);
    for (uint8_t& byte : made) byte = static_cast<uint8_t>(random_());
    return made;
  }
  std::mt19937 random_{1624};
};

// The example of RFC 1071, 3.
TEST_F(Checksum, IsThatOfTheRfcsExample) {
  const Bytes example = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(big_endian(sum_in_16_bits(sum_of(example))), 0xddf2);
}

TEST_F(Checksum, IsThatOfItsDefinitionForEveryLength) {
  for (size_t size = 0; size < 300; ++size) {
    const Bytes data = bytes(size);
    EXPECT_EQ(big_endian(checksum_of(sum_of(data))), defined_checksum(data)) << size;
  }
  EXPECT_EQ(sum_of(Bytes(100)), 0u);
  EXPECT_EQ(sum_of(Bytes(100, 0xff)), UINT32_MAX);
}

TEST_F(Checksum, OfBlocksAddsUpToThatOfTheWhole) {
  for (int round = 0; round < 1000; ++round) {
    const Bytes whole = bytes(2 + random_() % 200);
    const auto at = static_cast<uint32_t>(random_() % whole.size());
    const std::span<const uint8_t> all = whole;
    const uint32_t sum = sum_add(sum_of(all.first(at)), sum_at(sum_of(all.subspan(at)), at));
    EXPECT_EQ(checksum_of(sum), checksum_of(sum_of(whole))) << whole.size() << " at " << at;
  }
}

TEST_F(Checksum, AfterAnUpdateIsThatOfTheNewBytes) {
  for (int round = 0; round < 2000; ++round) {
    Bytes data = bytes(40);
    const uint16_t before = checksum_of(sum_of(data));
    const size_t at = 4 * (random_() % 9);
    uint32_t from;
    std::memcpy(&from, &data[at], 4);
    const auto to = static_cast<uint32_t>(random_());
    const bool half = round % 2 == 0;
    std::memcpy(&data[at], &to, half ? 2 : 4);
    const uint16_t expected = checksum_of(sum_of(data));
    if (half) {
      const auto from16 = static_cast<uint16_t>(from);
      const auto to16 = static_cast<uint16_t>(to);
      EXPECT_EQ(checksum_after_16_bits(before, from16, to16), expected);
      EXPECT_EQ(checksum_after(before, from16, to16), expected);
    } else {
      EXPECT_EQ(checksum_after(before, from, to), expected);
      EXPECT_EQ(checksum_after(before, sum_subtract(to, from)), expected);
    }
  }
}

// RFC 1624, 4: the case that the equation of RFC 1141 gets wrong.
TEST_F(Checksum, AfterAnUpdateDoesNotBecomeTheOtherZero) {
  EXPECT_EQ(checksum_after_16_bits(big_endian(0xdd2f), big_endian(0x5555), big_endian(0x3285)), 0);
}

}  // namespace
}  // namespace xnic::vm
