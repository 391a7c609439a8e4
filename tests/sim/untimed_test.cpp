#include "sim/untimed.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/sim/programs.h"

namespace xnic::sim {
namespace {

TEST(Untimed, EveryPacketEndsOnceAtTheTimeOfItsFrame) {
  const auto traffic = random_traffic(3000, 1'000'000, 1);
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::xdp_native, verdict_of_source_address());
  attach(hooks, vm::HookPoint::tc_ingress, random_shot());
  KeepingSink sink;
  const auto summary = run_untimed(source_of(traffic), hooks, options(), sink);
  ASSERT_TRUE(summary);
  expect_whole(traffic, sink, *summary);
  for (size_t i = 0; i < traffic.size(); ++i) {
    EXPECT_EQ(sink.packets[i].outcome.end_ps, traffic[i].time_ps);
  }
  for (const auto reason :
       {DropReason::runt, DropReason::xdp_drop, DropReason::xdp_aborted, DropReason::tc_shot}) {
    EXPECT_GT(dropped(*summary, reason), 0u) << drop_reason_name(reason);
  }
}

TEST(Untimed, RuntsAndOversizeFramesReachNoProgram) {
  const auto traffic = random_traffic(3000, 0, 2);
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::xdp_native, give(XDP_PASS));
  RunOptions limited = options();
  limited.mtu = 1000;
  KeepingSink sink;
  const auto summary = run_untimed(source_of(traffic), hooks, limited, sink);
  ASSERT_TRUE(summary);
  uint64_t runts = 0;
  uint64_t oversize = 0;
  for (const Sent& sent : traffic) {
    const size_t size = sent.bytes.size();
    runts += size < 14;
    const bool tagged = size >= 14 && sent.bytes[12] == 0x81 && sent.bytes[13] == 0;
    oversize += size > (tagged ? 1018u : 1014u);
  }
  EXPECT_EQ(dropped(*summary, DropReason::runt), runts);
  EXPECT_EQ(dropped(*summary, DropReason::oversize), oversize);
  EXPECT_EQ(summary->delivered, traffic.size() - runts - oversize);
  EXPECT_EQ(hooks[1].statistics().runs, summary->delivered);
}

TEST(Untimed, TheSeedDecidesWhatRandomHelpersGive) {
  const auto traffic = random_traffic(500, 0, 3);
  const auto marks = [&](uint64_t seed) {
    Hooks hooks = no_hooks();
    attach(hooks, vm::HookPoint::tc_ingress, random_shot());
    RunOptions seeded = options();
    seeded.seed = seed;
    KeepingSink sink;
    EXPECT_TRUE(run_untimed(source_of(traffic), hooks, seeded, sink));
    std::vector<uint32_t> made;
    for (const Kept& kept : sink.packets) made.push_back(kept.mark);
    return made;
  };
  EXPECT_EQ(marks(1), marks(1));
  EXPECT_NE(marks(1), marks(2));
}

TEST(Untimed, RssSpreadsFlowsOverQueuesAndTheirCpus) {
  const auto traffic = random_traffic(500, 0, 4);
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::tc_ingress, {call(BPF_FUNC_get_smp_processor_id), leave()});
  RunOptions spread = options();
  spread.profile.queues.value = 8;
  spread.profile.cores.value = 3;
  KeepingSink sink;
  ASSERT_TRUE(run_untimed(source_of(traffic), hooks, spread, sink));
  std::set<uint32_t> queues;
  for (const Kept& kept : sink.packets) {
    queues.insert(kept.outcome.queue);
    for (const HookEvent& event : kept.outcome.events) {
      EXPECT_EQ(event.result.code, kept.outcome.queue % 3);
    }
  }
  EXPECT_EQ(queues.size(), 8u);
}

TEST(Untimed, AnErrorOfTheSourceEndsTheRun) {
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const FrameSource broken = [](std::span<traces::Frame>) -> Result<size_t> {
    return fail(ExitCode::bad_input, "The capture is cut.");
  };
  const auto summary = run_untimed(broken, hooks, options(), sink);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().message, "The capture is cut.");
}

}  // namespace
}  // namespace xnic::sim
