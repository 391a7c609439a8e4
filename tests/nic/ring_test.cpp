#include "nic/ring.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

std::unique_ptr<Transit> transit(uint64_t id) {
  auto made = std::make_unique<Transit>();
  made->packet.id = id;
  return made;
}

TEST(Ring, GivesPacketsInTheOrderInWhichTheyCame) {
  Ring ring(4);
  EXPECT_EQ(ring.oldest(), nullptr);
  for (uint64_t id = 1; id <= 3; ++id) ring.fill(transit(id));
  EXPECT_EQ(ring.oldest()->packet.id, 1u);
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(ring.take()->packet.id, id);
  EXPECT_EQ(ring.oldest(), nullptr);
}

TEST(Ring, ADescriptorIsFreeAgainOnlyWhenTheDriverPostsIt) {
  Ring ring(2);
  ring.fill(transit(1));
  ring.fill(transit(2));
  EXPECT_EQ(ring.free(), 0u);
  ring.take();
  EXPECT_EQ(ring.free(), 0u);
  ring.post(1);
  EXPECT_EQ(ring.free(), 1u);
}

TEST(Ring, KeepsOrderOverManyTurns) {
  Ring ring(3);
  uint64_t next = 1;
  for (uint64_t id = 1; id <= 100; ++id) {
    if (ring.free() == 0) {
      EXPECT_EQ(ring.take()->packet.id, next++);
      ring.post(1);
    }
    ring.fill(transit(id));
  }
  EXPECT_EQ(next, 98u);
}

}  // namespace
}  // namespace xnic::nic
