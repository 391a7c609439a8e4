// An untimed run spread over threads leaves what one thread leaves: outcomes, bytes, copies, and
// the order in which the sink has them.
#include <gtest/gtest.h>

#include <tuple>

#include "sim/untimed.h"
#include "tests/sim/programs.h"

namespace xnic::sim {
namespace {

// What became of a packet, to be compared.
using Story =
    std::tuple<uint64_t, std::vector<uint8_t>, uint32_t, uint64_t, uint32_t, uint32_t, End,
               DropReason, std::vector<std::tuple<vm::HookPoint, uint32_t, uint64_t>>>;

class Telling : public OutcomeSink {
 public:
  void done(const vm::Packet& packet, const Outcome& outcome) override {
    std::vector<std::tuple<vm::HookPoint, uint32_t, uint64_t>> events;
    for (const HookEvent& event : outcome.events) {
      events.emplace_back(event.hook, event.result.code, event.result.instructions);
    }
    stories.emplace_back(outcome.packet_id, packet.bytes(), packet.skb.mark, outcome.end_ps,
                         outcome.queue, outcome.out_ifindex, outcome.end, outcome.reason,
                         std::move(events));
  }
  std::vector<Story> stories;  // in the order in which they were told
};

struct Left {
  std::vector<Story> stories;
  std::vector<std::pair<uint64_t, std::vector<uint8_t>>> copies;
  RunSummary summary;
  std::vector<vm::HookStatistics> hooks;
  std::vector<std::string> faults;
};

// Sends a copy of each packet out of nic0, and passes.
Instructions clone_and_pass() {
  return {mov(2, kNic0), mov(3, 0), call(BPF_FUNC_clone_redirect), mov(0, TC_ACT_OK), leave()};
}

Left run(const std::vector<Sent>& traffic, const Instructions& xdp, const Instructions& tc,
         uint32_t threads) {
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::xdp_native, xdp);
  attach(hooks, vm::HookPoint::tc_ingress, tc);
  Left left;
  RunOptions chosen = options();
  chosen.mtu = 2000;
  chosen.threads = threads;
  chosen.copy_sent = [&](const vm::Packet& packet, uint32_t, uint64_t) {
    left.copies.emplace_back(packet.id, packet.bytes());
  };
  Telling sink;
  const auto summary = run_untimed(source_of(traffic), hooks, chosen, sink);
  EXPECT_TRUE(summary);
  left.stories = std::move(sink.stories);
  left.summary = summary.value_or(RunSummary{});
  for (const vm::Hook& hook : hooks) {
    left.hooks.push_back(hook.statistics());
    for (const std::string& fault : hook.faults()) left.faults.push_back(fault);
  }
  return left;
}

void expect_equal(const Left& left, const Left& alone) {
  EXPECT_EQ(left.stories, alone.stories);
  EXPECT_EQ(left.copies, alone.copies);
  EXPECT_EQ(left.faults, alone.faults);
  EXPECT_EQ(left.summary.frames, alone.summary.frames);
  EXPECT_EQ(left.summary.delivered, alone.summary.delivered);
  EXPECT_EQ(left.summary.transmitted, alone.summary.transmitted);
  EXPECT_EQ(left.summary.drops, alone.summary.drops);
  EXPECT_EQ(left.summary.copies, alone.summary.copies);
  EXPECT_EQ(left.summary.simulated_ns, alone.summary.simulated_ns);
  EXPECT_EQ(left.summary.latency.maximum_ps, alone.summary.latency.maximum_ps);
  for (size_t i = 0; i < alone.hooks.size(); ++i) {
    EXPECT_EQ(left.hooks[i].runs, alone.hooks[i].runs);
    EXPECT_EQ(left.hooks[i].faults, alone.hooks[i].faults);
    EXPECT_EQ(left.hooks[i].instructions, alone.hooks[i].instructions);
    EXPECT_EQ(left.hooks[i].verdicts, alone.hooks[i].verdicts);
  }
}

TEST(Threads, LeaveWhatOneLeaves) {
  // Not a whole number of batches.
  const auto traffic = random_traffic(5003, 1'000'000, 7);
  const std::vector<std::pair<Instructions, Instructions>> programs = {
      {verdict_of_source_address(), random_shot()},
      {adjust_head(4), clone_and_pass()},
      {give(XDP_PASS), fault()},
      {give(XDP_TX), give(TC_ACT_OK)},
  };
  for (const auto& [xdp, tc] : programs) {
    const Left alone = run(traffic, xdp, tc, 1);
    ASSERT_EQ(alone.stories.size(), traffic.size());
    for (const uint32_t threads : {2u, 3u, 4u, 100u}) {
      SCOPED_TRACE(threads);
      expect_equal(run(traffic, xdp, tc, threads), alone);
    }
  }
}

TEST(Threads, EndWithAnErrorOfTheSourceAfterThePacketsBeforeIt) {
  const auto traffic = random_traffic(1000, 0, 8);
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::xdp_native, give(XDP_DROP));
  RunOptions chosen = options();
  chosen.threads = 2;
  Telling sink;
  const FrameSource whole = source_of(traffic);
  const FrameSource broken = [&](std::span<traces::Frame> frames) -> Result<size_t> {
    const auto got = whole(frames);
    if (got && *got == 0) return fail(ExitCode::bad_input, "The capture is cut.");
    return got;
  };
  const auto summary = run_untimed(broken, hooks, chosen, sink);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().message, "The capture is cut.");
  EXPECT_EQ(sink.stories.size(), traffic.size());
}

TEST(Threads, RunNothingOfAnEmptyCapture) {
  const std::vector<Sent> nothing;
  Hooks hooks = no_hooks();
  RunOptions chosen = options();
  chosen.threads = 2;
  Telling sink;
  const auto summary = run_untimed(source_of(nothing), hooks, chosen, sink);
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->frames, 0u);
}

}  // namespace
}  // namespace xnic::sim
