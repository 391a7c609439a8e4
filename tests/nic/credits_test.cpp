#include "nic/credits.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

TEST(Credits, AsManyAsThereAreAreUnderWayAtATime) {
  Credits credits(3, 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(credits.take(10, 0), 10u);
    credits.hold(100 + 10u * static_cast<unsigned>(i));
  }
  EXPECT_EQ(credits.take(10, 0), 100u);
  credits.hold(1000);
  EXPECT_EQ(credits.take(115, 0), 115u);  // the second is back since 110
}

TEST(Credits, UnitsRunOutBeforeItemsDo) {
  Credits credits(100, 8);
  EXPECT_EQ(credits.take(0, 5), 0u);
  credits.hold(50);
  EXPECT_EQ(credits.take(0, 3), 0u);
  credits.hold(60);
  EXPECT_EQ(credits.take(0, 4), 50u);  // the five that come back are enough
  credits.hold(70);
  EXPECT_EQ(credits.take(0, 2), 60u);
  credits.hold(80);
}

TEST(Credits, WhatNeedsMoreThanThereIsWaitsForAll) {
  Credits credits(4, 8);
  EXPECT_EQ(credits.take(0, 1), 0u);
  credits.hold(30);
  EXPECT_EQ(credits.take(0, 100), 30u);
}

}  // namespace
}  // namespace xnic::nic
