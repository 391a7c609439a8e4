#include "nic/interrupt.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

TEST(Interrupt, StartsTheHandlerAfterItsLatencyAndIsThenMasked) {
  Interrupt interrupt(1000, 0);
  EXPECT_EQ(interrupt.raise(50), 1050u);
  EXPECT_EQ(interrupt.raise(60), std::nullopt);
  EXPECT_TRUE(interrupt.handle(1050));
  EXPECT_EQ(interrupt.raise(1060), std::nullopt);
  EXPECT_FALSE(interrupt.handle(2060));
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(2070), 3070u);
}

TEST(Interrupt, ModerationKeepsInterruptsApart) {
  Interrupt interrupt(1000, 16'000);
  EXPECT_EQ(interrupt.raise(50), 1050u);
  EXPECT_TRUE(interrupt.handle(1050));
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(2000), 50u + 16'000 + 1000);
  EXPECT_TRUE(interrupt.handle(17'050));
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(1'000'000), 1'001'000u);
}

TEST(Interrupt, SoManyPacketsDoNotWaitForTheTimeOfModeration) {
  Interrupt interrupt(1000, 16'000, 3);
  EXPECT_EQ(interrupt.raise(50), 1050u);
  EXPECT_TRUE(interrupt.handle(1050));
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(2000), 17'050u);
  EXPECT_EQ(interrupt.raise(2100), std::nullopt);
  EXPECT_EQ(interrupt.raise(2200), 3200u);
  EXPECT_EQ(interrupt.raise(2300), std::nullopt);
  EXPECT_TRUE(interrupt.handle(3200));
  // What was said before it comes to nothing.
  EXPECT_FALSE(interrupt.handle(17'050));
}

}  // namespace
}  // namespace xnic::nic
