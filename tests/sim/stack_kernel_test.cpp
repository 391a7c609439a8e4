// The way of a packet between the hooks of several interfaces, against veth pairs of the real
// kernel in a namespace of the test's own: the same programs at the same hooks log each run, and do
// what a table says for their hook.
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include <array>
#include <optional>

#include "tests/sim/machines.h"
#include "vm/uapi.h"

namespace xnic::sim {
namespace {

// As in tests/sim/data/stack.bpf.c.
constexpr uint32_t kHooks = 8;
enum Place : uint32_t { tc_ingress, tc_egress, xdp, xdp_devmap, xdp_cpumap };
enum Deed : uint32_t { nothing, redirect, clone, redirect_map, redirect_cpu, redirect_peer };
constexpr uint32_t kForEver = 1 << 20;
struct Step {
  uint32_t verdict = 0;
  uint32_t deed = nothing;
  uint32_t target = 0;
  uint32_t flags = 0;
  uint32_t times = kForEver;
  uint32_t mark = 0;
};
using Event = std::array<uint32_t, 11>;
constexpr size_t kPacketType = 6;
constexpr size_t kTcIndex = 9;
constexpr size_t kClassid = 10;

std::vector<Event> events_of(Machine& machine) {
  uint32_t count = 0;
  machine.get("logged", 0, &count);
  std::vector<Event> all(std::min(count, 1024u));
  for (uint32_t i = 0; i < all.size(); ++i) {
    machine.get("story", i, all[i].data());
    // What GRO left there, where a driver ran XDP.
    if (all[i][kClassid] == UINT16_MAX) all[i][kClassid] = 0;
  }
  return all;
}

class StackOracle : public testing::Test {
 protected:
  void SetUp() override {
    const auto network = enter_network();
    if (!network && network.error().code == ExitCode::not_available) {
      GTEST_SKIP() << network.error().message;
    }
    ASSERT_TRUE(network) << network.error().message;
    const std::string object = std::string(XNIC_OBJECTS) + "/stack.o";
    auto side = KernelSide::real(object);
    ASSERT_TRUE(side) << side.error().message;
    theirs_ = std::make_unique<Linux>(std::move(*side));
    ours_ = std::make_unique<Emulated>(*network, object);
  }

  template <class Function>
  void both(Function function) {
    function(static_cast<Machine&>(*ours_));
    function(static_cast<Machine&>(*theirs_));
  }
  void step(uint32_t ifindex, Place place, const Step& step) {
    both([&](Machine& machine) { machine.put("steps", ifindex * kHooks + place, &step); });
  }
  // All tc hooks but that of a0, where the test sends.
  void tc_everywhere() {
    for (const uint32_t ifindex : {a1, b0, b1, c0, c1, Index(lo)}) {
      both([&](Machine& machine) {
        machine.link("enter", ifindex, vm::uapi::kTcxIngress);
        machine.link("leave", ifindex, vm::uapi::kTcxEgress);
      });
    }
  }
  void xdp_at(uint32_t ifindex, uint32_t flags = XDP_FLAGS_DRV_MODE) {
    both([&](Machine& machine) { machine.link("driver", ifindex, BPF_XDP, flags); });
  }

  // Both receive the frame; gives the hooks that it passed, which are the same. `ordered` is false
  // where the order is open: Linux queues copies.
  std::vector<uint32_t> hooks_passed(size_t length = 100, bool ordered = true,
                                     const vm::MacAddress& destination = kOfA1) {
    std::vector<uint8_t> frame(length);
    std::copy(destination.begin(), destination.end(), frame.begin());
    frame[6] = 2;
    frame[12] = 0x88;
    frame[13] = 0xb5;
    both([&](Machine& machine) { machine.receive(frame); });
    auto mine = events_of(*ours_);
    auto other = events_of(*theirs_);
    if (!ordered) {
      std::ranges::sort(mine);
      std::ranges::sort(other);
    }
    EXPECT_EQ(mine, other);
    std::vector<uint32_t> hooks;
    for (const Event& event : other) hooks.push_back(event[0]);
    return hooks;
  }
  static uint32_t at(uint32_t ifindex, Place place) { return ifindex * kHooks + place; }
  using Passed = std::vector<uint32_t>;

  const PinnedToCpu0 pinned_;
  std::unique_ptr<Emulated> ours_;
  std::unique_ptr<Linux> theirs_;
};

TEST_F(StackOracle, ARedirectIntoAnInterfacePassesItsIngress) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = b0, .flags = BPF_F_INGRESS, .mark = 7});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, tc_ingress), at(b0, tc_ingress)}));
}

TEST_F(StackOracle, ARedirectOutOfAVethPassesItsEgressAndThePeersIngress) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = b0, .mark = 7});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, tc_ingress), at(b0, tc_egress), at(b1, tc_ingress)}));
}

TEST_F(StackOracle, WhatIsForAnotherMachineIsMarkedSo) {
  tc_everywhere();
  EXPECT_EQ(hooks_passed(100, true, {2, 0, 0, 0, 0, 0x77}), (Passed{at(a1, tc_ingress)}));
  EXPECT_EQ(events_of(*theirs_).at(0)[kPacketType], uint32_t{PACKET_OTHERHOST});
}

TEST_F(StackOracle, AProgramThatSendsToItselfEndsAtTheDepthThatLinuxAllows) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = b0});
  step(b0, tc_egress, {.deed = redirect, .target = b0});
  const auto passed = hooks_passed();
  EXPECT_EQ(passed.size(), 10u);
  EXPECT_EQ(ours_->sink.packets.at(0).outcome.reason, DropReason::tc_redirect);
}

TEST_F(StackOracle, WhatComesInAgainStartsAtNoDepth) {
  tc_everywhere();
  // Out of b0 and back in at b0, twelve times.
  step(a1, tc_ingress, {.deed = redirect, .target = b0});
  step(b1, tc_ingress, {.deed = redirect, .target = c0, .times = 12});
  step(c1, tc_ingress, {.deed = redirect, .target = b0});
  EXPECT_EQ(hooks_passed().size(), 1u + 13 * 2 + 12 * 2);
}

TEST_F(StackOracle, AnIngressMaySendToItself) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = a1, .flags = BPF_F_INGRESS, .times = 5});
  EXPECT_EQ(hooks_passed(), Passed(6, at(a1, tc_ingress)));
}

TEST_F(StackOracle, AnEgressMaySendBackIn) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = b0});
  step(b0, tc_egress, {.deed = redirect, .target = c0, .flags = BPF_F_INGRESS});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, tc_ingress), at(b0, tc_egress), at(c0, tc_ingress)}));
}

TEST_F(StackOracle, WhatLeavesByLoComesInAtLo) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = lo, .mark = 3});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, tc_ingress), at(lo, tc_egress), at(lo, tc_ingress)}));
}

TEST_F(StackOracle, ShotAtTheEgressOfTheTarget) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = b0});
  step(b0, tc_egress, {.verdict = TC_ACT_SHOT});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, tc_ingress), at(b0, tc_egress)}));
  EXPECT_EQ(ours_->sink.packets.at(0).outcome.reason, DropReason::tc_shot);
}

TEST_F(StackOracle, AFrameTooLongForTheOtherEndIsLost) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect, .target = b0});
  EXPECT_EQ(hooks_passed(1018).size(), 3u);
  EXPECT_EQ(hooks_passed(1019).size(), 5u);
  EXPECT_EQ(ours_->sink.packets.at(0).outcome.reason, DropReason::mtu);
}

TEST_F(StackOracle, ClonesPassTheHooksOfTheirTarget) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = clone, .target = b0});
  step(b1, tc_ingress, {.deed = clone, .target = c0, .flags = BPF_F_INGRESS});
  const auto passed = hooks_passed(100, false);
  EXPECT_EQ(passed.size(), 4u);
  const Outcome& outcome = ours_->sink.packets.at(0).outcome;
  EXPECT_EQ(outcome.end, End::delivered);
  EXPECT_EQ(outcome.copies[static_cast<size_t>(End::delivered)], 2u);
}

TEST_F(StackOracle, ARedirectToAPeerInTheSameNamespaceIsLost) {
  tc_everywhere();
  step(a1, tc_ingress, {.deed = redirect_peer, .target = b0});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, tc_ingress)}));
}

TEST_F(StackOracle, GenericXdpSeesWhatComesInAndNotWhatTcSentThere) {
  tc_everywhere();
  for (const uint32_t ifindex : {b0, b1}) {
    xdp_at(ifindex, XDP_FLAGS_SKB_MODE);
    step(ifindex, xdp, {.verdict = XDP_PASS});
  }
  step(a1, tc_ingress, {.deed = redirect, .target = b0, .flags = BPF_F_INGRESS, .times = 1});
  EXPECT_EQ(hooks_passed().size(), 3u);
  step(a1, tc_ingress, {.deed = redirect, .target = b0});
  EXPECT_EQ(hooks_passed().size(), 6u);
}

TEST_F(StackOracle, XdpSendsIntoAVethOnlyWhereXdpRunsAtItsOtherEnd) {
  tc_everywhere();
  xdp_at(a1);
  step(a1, xdp, {.deed = redirect, .target = b0});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, xdp)}));
  xdp_at(b1);
  step(b1, xdp, {.verdict = XDP_PASS});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, xdp), at(a1, xdp), at(b1, xdp), at(b1, tc_ingress)}));
}

TEST_F(StackOracle, WhatTcSendsPassesNativeXdpAtTheOtherEnd) {
  tc_everywhere();
  xdp_at(b1);
  step(b1, xdp, {.verdict = XDP_PASS});
  step(a1, tc_ingress, {.deed = redirect, .target = b0, .mark = 9});
  EXPECT_EQ(hooks_passed(),
            (Passed{at(a1, tc_ingress), at(b0, tc_egress), at(b1, xdp), at(b1, tc_ingress)}));
}

TEST_F(StackOracle, ABroadcastReachesEachPortAndLeavesOutTheIngress) {
  tc_everywhere();
  for (const uint32_t ifindex : {a0, a1, b1, c1}) {
    xdp_at(ifindex);
    step(ifindex, xdp, {.verdict = XDP_PASS});
  }
  both([](Machine& machine) {
    const auto program = static_cast<uint32_t>(machine.program("to_port"));
    const std::array<uint32_t, 3> targets = {a1, b0, c0};
    for (uint32_t key = 0; key < targets.size(); ++key) {
      const bpf_devmap_val value = {.ifindex = targets[key],
                                    .bpf_prog = {static_cast<int>(program)}};
      machine.put("ports", key, &value);
    }
  });
  for (const uint32_t ifindex : {a1, b0, c0}) step(ifindex, xdp_devmap, {.verdict = XDP_PASS});
  step(a1, xdp,
       {.deed = redirect_map, .flags = BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS, .times = 1});
  // a1; at b0 and c0 the entry's program, then XDP and tc at the other end.
  EXPECT_EQ(hooks_passed(100, false).size(), 1u + 2 * 3);
  step(a1, xdp, {.deed = redirect_map, .flags = BPF_F_BROADCAST, .times = 1});
  EXPECT_EQ(hooks_passed(100, false).size(), 7u + 1 + 3 * 3 - 1);
  // The entry's program lets none through, then aborts.
  for (const uint32_t verdict : {XDP_DROP, XDP_TX}) {
    step(b0, xdp_devmap, {.verdict = verdict});
    step(a1, xdp, {.deed = redirect_map, .target = 1, .times = 1});
    hooks_passed(100, false);
    EXPECT_EQ(ours_->sink.packets.at(0).outcome.reason,
              verdict == XDP_DROP ? DropReason::xdp_drop : DropReason::xdp_aborted);
  }
}

TEST_F(StackOracle, ACpumapsProgramDecidesOnItsCpu) {
  tc_everywhere();
  xdp_at(a1);
  xdp_at(b1);
  step(b1, xdp, {.verdict = XDP_PASS});
  both([](Machine& machine) {
    const bpf_cpumap_val value = {.qsize = 64, .bpf_prog = {machine.program("to_cpu")}};
    machine.put("cpus", 0u, &value);
  });
  step(a1, xdp, {.deed = redirect_cpu});
  step(a1, xdp_cpumap, {.verdict = XDP_PASS});
  EXPECT_EQ(hooks_passed(), (Passed{at(a1, xdp), at(a1, xdp_cpumap), at(a1, tc_ingress)}));
  step(a1, xdp_cpumap, {.verdict = XDP_DROP});
  EXPECT_EQ(hooks_passed().size(), 5u);
  step(a1, xdp_cpumap, {.deed = redirect, .target = b0});
  EXPECT_EQ(hooks_passed().size(), 9u);
  // A CPU hands on to a CPU, which is itself here.
  step(a1, xdp_cpumap, {.deed = redirect_cpu, .times = 3});
  hooks_passed();
}

class ClassicFilter : public StackOracle {
 protected:
  // a1's ingress sends to b0, whose egress has the filter; b1's ingress shows what it let through.
  void attach(const std::string& filter) {
    both([&](Machine& machine) {
      machine.link("enter", a1, vm::uapi::kTcxIngress);
      machine.link("enter", b1, vm::uapi::kTcxIngress);
      machine.classic(b0, false, filter);
    });
    step(a1, tc_ingress, {.deed = redirect, .target = b0});
  }
  // The tc_index of a packet whose program gives this code; nothing for one that is lost.
  std::optional<uint32_t> index_after(uint32_t code) {
    step(b0, tc_egress, {.verdict = code});
    const size_t before = events_of(*theirs_).size();
    const auto hooks = hooks_passed();
    if (hooks.size() == before + 2) return std::nullopt;
    EXPECT_EQ(hooks.size(), before + 3);
    return events_of(*theirs_).back()[kTcIndex];
  }
};

TEST_F(ClassicFilter, AClassifiersCodeSaysWhetherAPacketMatchesAndItsClass) {
  attach("classid 1:22");
  EXPECT_EQ(index_after(0), 0u);
  EXPECT_EQ(index_after(UINT32_MAX), 0x22u);
  EXPECT_EQ(index_after(0x10033), 0x33u);
  EXPECT_EQ(index_after(TC_ACT_SHOT), 2u);
  EXPECT_EQ(index_after(TC_ACT_REDIRECT), 7u);
}

TEST_F(ClassicFilter, ADirectActionsCodeIsTheActionAndTheFilterGivesTheClass) {
  attach("da classid 1:22");
  EXPECT_EQ(index_after(TC_ACT_OK), 0x22u);
  EXPECT_EQ(index_after(TC_ACT_SHOT), std::nullopt);
  EXPECT_EQ(index_after(UINT32_MAX), 0u);
}

}  // namespace
}  // namespace xnic::sim
