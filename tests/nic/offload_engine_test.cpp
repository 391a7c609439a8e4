#include "nic/offload_engine.h"

#include <gtest/gtest.h>

#include <random>

namespace xnic::nic {
namespace {

// A nanosecond a cycle.
NicProfile card(int cores, int threads, bool keeps_order = true) {
  NicProfile profile = load_profile("generic-100g").value();
  profile.offload_cores.value = cores;
  profile.offload_threads.value = threads;
  profile.offload_keeps_order.value = keeps_order ? 1 : 0;
  profile.offload_fixed_ns.value = 50;
  profile.offload_clock_mhz.value = 1000;
  profile.offload_instruction_cycles.value = 2;
  return profile;
}

OffloadEngine engine_of(const NicProfile& profile) {
  return OffloadEngine(profile, make_core_model(profile));
}

Offloaded run(uint64_t instructions, uint64_t waits = 0) {
  return {.ran = true,
          .way = Offloaded::Way::host,
          .work = {.instructions = instructions, .cost = 2 * instructions + waits}};
}

TEST(OffloadEngine, TakesOnePacketAfterTheOther) {
  OffloadEngine engine = engine_of(card(1, 1));
  EXPECT_EQ(engine.start(100'000), 100'000u);
  EXPECT_EQ(engine.charge(100'000, run(10)), 170'000u);
  EXPECT_EQ(engine.start(120'000), 170'000u);
  EXPECT_EQ(engine.start(200'000), 200'000u);
}

TEST(OffloadEngine, CostsNothingWithoutAProgram) {
  OffloadEngine engine = engine_of(card(1, 1));
  EXPECT_EQ(engine.charge(100, Offloaded{}), 100u);
  EXPECT_EQ(engine.start(100), 100u);
}

TEST(OffloadEngine, AnIdealCoreTakesNoTimeForAnything) {
  NicProfile profile = card(1, 1);
  profile.offload_core.value = 0;
  OffloadEngine engine = engine_of(profile);
  EXPECT_EQ(engine.charge(100, run(1000, 1000)), 100u);
  EXPECT_EQ(engine.start(100), 100u);
}

// When the last of so many packets leaves, all of which are there at 0.
Picoseconds last_of(const NicProfile& profile, int packets, const Offloaded& each) {
  OffloadEngine engine = engine_of(profile);
  Picoseconds last = 0;
  for (int i = 0; i < packets; ++i) last = std::max(last, engine.charge(engine.start(0), each));
  return last;
}

TEST(OffloadEngine, TwiceTheCoresTakeHalfTheTime) {
  EXPECT_EQ(last_of(card(1, 1), 64, run(10, 30)), 64 * 100'000u);
  EXPECT_EQ(last_of(card(2, 1), 64, run(10, 30)), 32 * 100'000u);
  EXPECT_EQ(last_of(card(64, 1), 64, run(10, 30)), 100'000u);
}

TEST(OffloadEngine, ThreadsOfACoreHideWhatPacketsWaitForAndNothingElse) {
  // 70 ns of computing and 630 of waiting: ten threads keep the core busy, more do not help.
  EXPECT_EQ(last_of(card(1, 10), 100, run(10, 630)), 100 * 70'000u + 630'000u);
  EXPECT_EQ(last_of(card(1, 20), 100, run(10, 630)), 100 * 70'000u + 630'000u);
  EXPECT_GT(last_of(card(1, 5), 100, run(10, 630)), 100 * 70'000u + 630'000u);
  EXPECT_EQ(last_of(card(1, 10), 100, run(10)), 100 * 70'000u);
}

TEST(OffloadEngine, KeepsTheOrderOfPacketsIfItIsToldTo) {
  std::mt19937 random(1);
  OffloadEngine ordered = engine_of(card(8, 2));
  OffloadEngine free = engine_of(card(8, 2, false));
  Picoseconds last_ordered = 0;
  Picoseconds last_free = 0;
  int overtaken = 0;
  for (int i = 0; i < 1000; ++i) {
    const Offloaded each = run(random() % 1000);
    const Picoseconds a = ordered.charge(ordered.start(0), each);
    EXPECT_GE(a, last_ordered);
    last_ordered = a;
    const Picoseconds b = free.charge(free.start(0), each);
    overtaken += b < last_free ? 1 : 0;
    last_free = std::max(last_free, b);
  }
  EXPECT_GT(overtaken, 0);
  EXPECT_EQ(last_ordered, last_free);
}

}  // namespace
}  // namespace xnic::nic
