#include "nic/interrupt.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

TEST(Interrupt, StartsTheHandlerAfterItsLatencyAndIsThenMasked) {
  Interrupt interrupt(1000, 0);
  EXPECT_EQ(interrupt.raise(50), 1050u);
  EXPECT_FALSE(interrupt.armed());
  EXPECT_EQ(interrupt.raise(60), std::nullopt);
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(70), 1070u);
}

TEST(Interrupt, ModerationKeepsInterruptsApart) {
  Interrupt interrupt(1000, 16'000);
  EXPECT_EQ(interrupt.raise(50), 1050u);
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(2000), 50u + 16'000 + 1000);
  interrupt.arm();
  EXPECT_EQ(interrupt.raise(1'000'000), 1'001'000u);
}

}  // namespace
}  // namespace xnic::nic
