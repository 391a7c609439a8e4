#include "nic/offload_engine.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

TEST(OffloadEngine, TakesOnePacketAfterTheOther) {
  OffloadEngine engine(50, 2);
  const Offloaded run{.ran = true, .way = Offloaded::Way::host, .instructions = 10};
  EXPECT_EQ(engine.start(100), 100u);
  EXPECT_EQ(engine.charge(100, run), 170u);
  EXPECT_EQ(engine.start(120), 170u);
  EXPECT_EQ(engine.start(200), 200u);
}

TEST(OffloadEngine, CostsNothingWithoutAProgram) {
  OffloadEngine engine(50, 2);
  EXPECT_EQ(engine.charge(100, Offloaded{}), 100u);
  EXPECT_EQ(engine.start(100), 100u);
}

}  // namespace
}  // namespace xnic::nic
