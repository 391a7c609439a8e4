#include "nic/mac.h"

#include <gtest/gtest.h>

#include <array>

namespace xnic::nic {
namespace {

// Frames a second of one size, from the wire time of a million of them.
double million_packets_a_second(double gbps, uint32_t bytes) {
  Mac mac(gbps);
  constexpr uint32_t kFrames = 1'000'000;
  Mac::Slot last{};
  for (uint32_t i = 0; i <= kFrames; ++i) last = mac.pass(0, bytes);
  return kFrames / (static_cast<double>(last.start) * 1e-12) / 1e6;
}

// IEEE 802.3: a minimum frame and its overhead are 84 bytes, so 10^10 / 672 a second.
TEST(Mac, TenGigabitCarries14880952MinimumFramesASecond) {
  EXPECT_NEAR(million_packets_a_second(10, 60), 14.880952, 1e-5);
}

TEST(Mac, HundredGigabitCarries148809523MinimumFramesASecond) {
  EXPECT_NEAR(million_packets_a_second(100, 60), 148.809523, 1e-4);
}

TEST(Mac, TenGigabitCarries812743FullFramesASecond) {
  EXPECT_NEAR(million_packets_a_second(10, 1514), 0.812743, 1e-6);
}

TEST(Mac, ShorterFramesArePaddedToTheMinimum) {
  EXPECT_EQ(Mac(10).wire_time(14), Mac(10).wire_time(60));
  EXPECT_LT(Mac(10).wire_time(60), Mac(10).wire_time(61));
}

TEST(Mac, AFrameIsThereAtItsLastBitAndAWaitingOneFollowsAfterTheGap) {
  Mac mac(10);
  const Mac::Slot first = mac.pass(1000, 60);
  EXPECT_EQ(first.start, 1000u);
  EXPECT_EQ(first.end, 1000u + 72 * 800);  // preamble 8, frame 64
  EXPECT_EQ(mac.pass(0, 60).start, first.end + 12 * 800);
}

TEST(Mac, AnIdleWireTakesAFrameAtOnce) {
  Mac mac(10);
  mac.pass(0, 1514);
  EXPECT_EQ(mac.pass(1'000'000'000, 60).start, 1'000'000'000u);
}

TEST(FrameCheck, RefusesFramesWithoutAnEthernetHeader) {
  const std::array<uint8_t, 14> head{};
  EXPECT_EQ(check_frame(std::span(head).first(13), 13, 0), FrameCheck::runt);
  EXPECT_EQ(check_frame({}, 0, 1500), FrameCheck::runt);
  EXPECT_EQ(check_frame(head, 14, 0), FrameCheck::good);
}

TEST(FrameCheck, CountsTheMtuBehindTheHeaderAndOneVlanTag) {
  std::array<uint8_t, 14> head{};
  EXPECT_EQ(check_frame(head, 1514, 1500), FrameCheck::good);
  EXPECT_EQ(check_frame(head, 1515, 1500), FrameCheck::oversize);
  EXPECT_EQ(check_frame(head, 262144, 0), FrameCheck::good);
  head[12] = 0x81;
  EXPECT_EQ(check_frame(head, 1518, 1500), FrameCheck::good);
  EXPECT_EQ(check_frame(head, 1519, 1500), FrameCheck::oversize);
}

}  // namespace
}  // namespace xnic::nic
