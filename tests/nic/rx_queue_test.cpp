#include "nic/rx_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace xnic::nic {
namespace {

TEST(RxQueue, HasRoomAgainWhenTheOldestPacketLeaves) {
  RxQueue queue(2);
  queue.hold(100);
  EXPECT_EQ(queue.room_at(10), 10u);
  queue.hold(200);
  EXPECT_EQ(queue.room_at(10), 100u);
  EXPECT_EQ(queue.room_at(100), 100u);
  queue.hold(300);
  EXPECT_EQ(queue.room_at(150), 200u);
}

TEST(RxQueue, PacketsLeaveInOrderEvenIfALaterOneIsReadyFirst) {
  RxQueue queue(2);
  queue.hold(500);
  queue.hold(100);
  EXPECT_EQ(queue.room_at(200), 500u);
  EXPECT_EQ(queue.room_at(500), 500u);
}

TEST(RxQueue, AgreesWithAPlainListOfPacketsOnRandomTraffic) {
  std::mt19937 random(7);
  RxQueue queue(5);
  std::deque<Picoseconds> inside;
  Picoseconds now = 0;
  Picoseconds leaves = 0;
  int full = 0;
  for (int i = 0; i < 10'000; ++i) {
    now += random() % 100;
    while (!inside.empty() && inside.front() <= now) inside.pop_front();
    const bool room = inside.size() < 5;
    ASSERT_EQ(queue.room_at(now), room ? now : inside.front());
    full += !room;
    if (!room) continue;
    leaves = std::max(leaves, now) + random() % 110;
    queue.hold(leaves);
    inside.push_back(leaves);
  }
  EXPECT_GT(full, 100);
}

}  // namespace
}  // namespace xnic::nic
