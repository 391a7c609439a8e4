#include "sim/untimed.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/sim/programs.h"
#include "vm/maps/hash.h"
#include "vm/prologue.h"

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

// Who looks at no packet must find the same counts and hook statistics.
TEST(Untimed, WhatNobodyLooksAtEndsAsWhatSomebodyDoes) {
  class Blind : public OutcomeSink {
   public:
    void done(const vm::Packet&, const Outcome&) override { ADD_FAILURE() << "was not asked for"; }
    bool wants_packets() const override { return false; }
  };
  const auto traffic = random_traffic(3000, 1'000'000, 9);
  using Point = vm::HookPoint;
  const std::vector<std::vector<std::pair<Point, Instructions>>> machines = {
      {},
      {{Point::xdp_native, verdict_of_source_address()}},
      {{Point::xdp_native, verdict_of_source_address()}, {Point::tc_ingress, random_shot()}},
      {{Point::xdp_native, verdict_of_source_address()}, {Point::xdp_generic, give(XDP_TX)}},
      {{Point::xdp_native, adjust_head(4)}, {Point::tc_ingress, give(TC_ACT_STOLEN)}},
      {{Point::xdp_offload, verdict_of_source_address()}, {Point::xdp_native, give(XDP_DROP)}},
      {{Point::xdp_native, redirect_to(kNic0, 0)}},
      {{Point::xdp_native, redirect_to(77, 0)}},
      {{Point::xdp_native, give(99)}},
      {{Point::xdp_native, fault()}},
      {{Point::tc_ingress, random_shot()}},
  };
  for (size_t i = 0; i < machines.size(); ++i) {
    SCOPED_TRACE(i);
    Hooks seen = no_hooks();
    Hooks unseen = no_hooks();
    for (const auto& [point, code] : machines[i]) {
      attach(seen, point, code);
      attach(unseen, point, code);
    }
    KeepingSink sink;
    Blind blind;
    const auto one = run_untimed(source_of(traffic), seen, options(), sink);
    const auto other = run_untimed(source_of(traffic), unseen, options(), blind);
    ASSERT_TRUE(one && other);
    expect_whole(traffic, sink, *one);
    EXPECT_EQ(one->frames, other->frames);
    EXPECT_EQ(one->delivered, other->delivered);
    EXPECT_EQ(one->transmitted, other->transmitted);
    EXPECT_EQ(one->drops, other->drops);
    EXPECT_EQ(one->simulated_ns, other->simulated_ns);
    for (size_t point = 0; point < seen.size(); ++point) {
      const vm::HookStatistics ours = seen[point].statistics();
      const vm::HookStatistics theirs = unseen[point].statistics();
      EXPECT_EQ(ours.runs, theirs.runs);
      EXPECT_EQ(ours.faults, theirs.faults);
      EXPECT_EQ(ours.instructions, theirs.instructions);
      EXPECT_EQ(ours.verdicts, theirs.verdicts);
      EXPECT_EQ(seen[point].faults(), unseen[point].faults());
    }
  }
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

// A flow's first packet passes and makes an entry in a map larger than the cache; others are
// dropped.
class FirstOfFlow : public vm::MapResolver {
 public:
  std::shared_ptr<vm::Map> map_by_fd(int) override { return flows_; }

  std::shared_ptr<vm::Program> program() {
    constexpr auto kStore = BPF_STX | BPF_MEM | BPF_W;
    const bpf_insn map = instruction(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 0);
    vm::ProgramSpec spec;
    spec.type = BPF_PROG_TYPE_XDP;
    spec.license = "GPL";
    spec.instructions = {load(BPF_W, 2, 1, 0),
                         load(BPF_W, 3, 1, 4),
                         mov_reg(4, 2),
                         instruction(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 34),
                         instruction(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 19, 0),
                         load(BPF_W, 5, 2, 26),
                         instruction(kStore, 10, 5, -4, 0),
                         map,
                         {},
                         mov_reg(2, 10),
                         instruction(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
                         call(BPF_FUNC_map_lookup_elem),
                         instruction(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
                         mov(0, XDP_DROP),
                         leave(),
                         instruction(BPF_ST | BPF_MEM | BPF_W, 10, 0, -8, 1),
                         map,
                         {},
                         mov_reg(2, 10),
                         instruction(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
                         mov_reg(3, 10),
                         instruction(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -8),
                         mov(4, 0),
                         call(BPF_FUNC_map_update_elem),
                         mov(0, XDP_PASS),
                         leave()};
    auto verified = vm::Verifier::verify(std::move(spec), {}, *this, {.values = true});
    EXPECT_TRUE(verified) << verified.error().message;
    if (!verified) return nullptr;
    (*verified)->set_code(engine_.compile(**verified));
    (*verified)->set_prologue(vm::Prologue::of(**verified, engine_, 1));
    EXPECT_NE((*verified)->prologue(), nullptr);
    return *verified;
  }

 private:
  static vm::MapSpec spec_of_flows() {
    vm::MapSpec spec;
    spec.type = BPF_MAP_TYPE_HASH;
    spec.key_size = spec.value_size = 4;
    spec.max_entries = 1 << 20;
    return spec;
  }

  vm::Interpreter engine_;
  std::shared_ptr<vm::Map> flows_ = *vm::create_hash(spec_of_flows(), {});
};

TEST(Untimed, FetchingAheadKeepsTheOrderInWhichPacketsChangeMaps) {
  for (const size_t count : {1u, 31u, 32u, 33u, 64u, 1000u}) {
    SCOPED_TRACE(count);
    std::vector<Sent> traffic;
    for (size_t i = 0; i < count; ++i) {
      traffic.push_back({std::vector<uint8_t>(60), i * 1000});
      traffic.back().bytes[26] = static_cast<uint8_t>(i * i % 61);
    }
    FirstOfFlow flows;
    Hooks hooks = no_hooks();
    hooks[static_cast<size_t>(vm::HookPoint::xdp_native)].attach(flows.program());
    KeepingSink sink;
    const auto summary = run_untimed(source_of(traffic), hooks, options(), sink);
    ASSERT_TRUE(summary);
    expect_whole(traffic, sink, *summary);
    std::set<uint8_t> seen;
    for (size_t i = 0; i < count; ++i) {
      const bool is_first = seen.insert(traffic[i].bytes[26]).second;
      EXPECT_EQ(sink.packets[i].outcome.end, is_first ? End::delivered : End::dropped) << i;
    }
  }
}

TEST(Untimed, WhatCameBeforeAnErrorOfTheSourceIsRun) {
  const auto traffic = random_traffic(100, 1000, 5);
  FirstOfFlow flows;
  Hooks hooks = no_hooks();
  hooks[static_cast<size_t>(vm::HookPoint::xdp_native)].attach(flows.program());
  KeepingSink sink;
  const FrameSource source =
      [&, from = source_of(traffic)](std::span<traces::Frame> frames) mutable -> Result<size_t> {
    const auto got = from(frames);
    if (got && *got == 0) return fail(ExitCode::bad_input, "The capture is cut.");
    return got;
  };
  EXPECT_FALSE(run_untimed(source, hooks, options(), sink));
  EXPECT_EQ(sink.packets.size(), traffic.size());
}

}  // namespace
}  // namespace xnic::sim
