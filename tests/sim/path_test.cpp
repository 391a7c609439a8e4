#include "sim/path.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/sim/programs.h"

namespace xnic::sim {
namespace {

// One packet through offload, native and stack, as far as it gets.
class PathTest : public testing::Test {
 protected:
  Outcome go(std::vector<uint8_t> bytes, const PathCosts& costs = {}) {
    Path path(hooks, costs);
    traces::Frame frame;
    frame.id = 1;
    frame.time_ps = 5000;
    frame.bytes = bytes;
    Outcome outcome;
    enter(frame, packet, outcome);
    Way way{packet, environment, outcome, frame.time_ps};
    if (path.offload(way) && path.native(way)) path.stack(way);
    now = way.now;
    return outcome;
  }
  Outcome go() { return go(std::vector<uint8_t>(64, 2)); }
  DropReason reason_with(vm::HookPoint point, Instructions code) {
    hooks = no_hooks();
    attach(hooks, point, std::move(code));
    const Outcome outcome = go();
    EXPECT_EQ(outcome.end, End::dropped);
    return outcome.reason;
  }
  // What a tc program of one load from the context returns.
  uint32_t skb_field(std::vector<uint8_t> bytes, size_t offset) {
    hooks = no_hooks();
    attach(hooks, vm::HookPoint::tc_ingress,
           {load(BPF_W, 0, 1, static_cast<int>(offset)), leave()});
    const Outcome outcome = go(std::move(bytes));
    return outcome.events.at(0).result.code;
  }

  Hooks hooks = no_hooks();
  vm::Packet packet;
  vm::Environment environment;
  uint64_t now = 0;
};

std::vector<uint8_t> frame_of_type(std::initializer_list<int> after_addresses, uint8_t first = 2) {
  std::vector<uint8_t> frame(12, first);
  for (const int byte : after_addresses) frame.push_back(static_cast<uint8_t>(byte));
  frame.resize(64);
  return frame;
}

TEST_F(PathTest, WithoutProgramsAPacketIsDeliveredUnchanged) {
  const auto tagged = frame_of_type({0x81, 0, 0x20, 5, 8, 0});
  const Outcome outcome = go(tagged);
  EXPECT_EQ(outcome.end, End::delivered);
  EXPECT_TRUE(outcome.events.empty());
  EXPECT_EQ(packet.bytes(), tagged);
}

TEST_F(PathTest, EveryXdpHookObeysItsProgramsVerdict) {
  for (const auto point :
       {vm::HookPoint::xdp_offload, vm::HookPoint::xdp_native, vm::HookPoint::xdp_generic}) {
    EXPECT_EQ(reason_with(point, give(XDP_DROP)), DropReason::xdp_drop);
    EXPECT_EQ(reason_with(point, give(XDP_ABORTED)), DropReason::xdp_aborted);
    EXPECT_EQ(reason_with(point, give(77)), DropReason::xdp_aborted);
    EXPECT_EQ(reason_with(point, fault()), DropReason::xdp_aborted);
    EXPECT_EQ(reason_with(point, redirect_to(1, 0)), DropReason::xdp_redirect);
    EXPECT_EQ(reason_with(point, give(XDP_REDIRECT)), DropReason::xdp_redirect);
    hooks = no_hooks();
    attach(hooks, point, give(XDP_TX));
    EXPECT_EQ(go().end, End::transmitted);
    attach(hooks, point, redirect_to(kNic0, 0));
    EXPECT_EQ(go().end, End::transmitted);
    attach(hooks, point, give(XDP_PASS));
    EXPECT_EQ(go().end, End::delivered);
  }
}

TEST_F(PathTest, TcIngressObeysItsProgramsVerdict) {
  const auto point = vm::HookPoint::tc_ingress;
  EXPECT_EQ(reason_with(point, give(TC_ACT_SHOT)), DropReason::tc_shot);
  EXPECT_EQ(reason_with(point, give(TC_ACT_STOLEN)), DropReason::tc_consumed);
  EXPECT_EQ(reason_with(point, give(TC_ACT_TRAP)), DropReason::tc_consumed);
  EXPECT_EQ(reason_with(point, redirect_to(9, 0)), DropReason::tc_redirect);
  EXPECT_EQ(reason_with(point, fault()), DropReason::tc_fault);
  // cls_bpf takes TC_ACT_QUEUED and others outside its list as TC_ACT_UNSPEC.
  for (const int code : {TC_ACT_OK, TC_ACT_UNSPEC, TC_ACT_PIPE, TC_ACT_QUEUED}) {
    attach(hooks, point, give(code));
    EXPECT_EQ(go().end, End::delivered) << code;
  }
}

TEST_F(PathTest, WhatComesInAgainWithoutEndIsLost) {
  attach(hooks, vm::HookPoint::tc_ingress, redirect_to(kNic0, BPF_F_INGRESS));
  const Outcome outcome = go();
  EXPECT_EQ(outcome.reason, DropReason::loop);
  EXPECT_EQ(outcome.events.size(), Path::kMaxRounds + 1);
}

TEST_F(PathTest, EachCloneOfACloneCountsAsARound) {
  attach(hooks, vm::HookPoint::tc_ingress,
         {mov_reg(6, 1), mov(2, kNic0), mov(3, BPF_F_INGRESS), call(BPF_FUNC_clone_redirect),
          mov_reg(1, 6), mov(2, kNic0), mov(3, BPF_F_INGRESS), call(BPF_FUNC_clone_redirect),
          mov(0, TC_ACT_OK), leave()});
  const Outcome outcome = go();
  EXPECT_EQ(outcome.end, End::delivered);
  EXPECT_EQ(outcome.copies[static_cast<size_t>(End::delivered)], Path::kMaxRounds);
  EXPECT_GT(outcome.copies[static_cast<size_t>(End::dropped)], 0u);
}

TEST_F(PathTest, ARedirectOutOfNic0PassesTcEgress) {
  attach(hooks, vm::HookPoint::tc_ingress, redirect_to(kNic0, 0));
  EXPECT_EQ(go().end, End::transmitted);
  attach(hooks, vm::HookPoint::tc_egress, give(TC_ACT_OK));
  const Outcome sent = go();
  EXPECT_EQ(sent.end, End::transmitted);
  EXPECT_EQ(sent.events.size(), 2u);
  attach(hooks, vm::HookPoint::tc_egress, give(TC_ACT_SHOT));
  EXPECT_EQ(go().reason, DropReason::tc_shot);
  attach(hooks, vm::HookPoint::tc_egress, redirect_to(kNic0, 0));
  EXPECT_EQ(go().reason, DropReason::tc_redirect);
  attach(hooks, vm::HookPoint::tc_egress, fault());
  EXPECT_EQ(go().reason, DropReason::tc_fault);
}

TEST_F(PathTest, HooksRunInThePacketsOrderAndTimesAddUp) {
  attach(hooks, vm::HookPoint::xdp_offload, give(XDP_PASS));
  attach(hooks, vm::HookPoint::xdp_native, give(XDP_PASS));
  attach(hooks, vm::HookPoint::xdp_generic, give(XDP_PASS));
  attach(hooks, vm::HookPoint::tc_ingress, redirect_to(kNic0, 0));
  attach(hooks, vm::HookPoint::tc_egress, give(TC_ACT_OK));
  const Outcome outcome = go(std::vector<uint8_t>(64, 2), {.hook = 100,
                                                           .instruction = 1,
                                                           .xdp_pass = 10'000,
                                                           .xdp_tx = 7,
                                                           .xdp_redirect = 7,
                                                           .build_skb = 200'000,
                                                           .receive_skb = 3'000'000});
  ASSERT_EQ(outcome.events.size(), 5u);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(outcome.events[i].hook, static_cast<vm::HookPoint>(i));
  }
  EXPECT_EQ(outcome.events[0].time_ps, 5000u + 102);
  EXPECT_EQ(outcome.events[1].time_ps, 5000u + 2 * 102);
  EXPECT_EQ(outcome.events[2].time_ps, 5000u + 3 * 102 + 210'000);
  EXPECT_EQ(outcome.events[3].time_ps, 5000u + 3 * 102 + 3'210'000 + 104);
  EXPECT_EQ(outcome.end_ps, 5000u + 4 * 102 + 3'210'000 + 104);
  EXPECT_EQ(now, outcome.end_ps);
}

TEST_F(PathTest, ProgramsReadTheSimulatedTimeOfTheirRun) {
  attach(hooks, vm::HookPoint::xdp_native, give(XDP_PASS));
  attach(hooks, vm::HookPoint::tc_ingress, {call(BPF_FUNC_ktime_get_ns), leave()});
  const Outcome outcome = go(std::vector<uint8_t>(64, 2), {.hook = 20'000, .build_skb = 3000});
  EXPECT_EQ(outcome.events.at(1).result.code, 5u + 20 + 3);
}

// The values are those of eth_type_trans and skb_vlan_untag on a packet that arrives at a device.
TEST_F(PathTest, TcProgramsSeeTheFieldsThatLinuxFillsIn) {
  const auto ipv4 = frame_of_type({8, 0, 0x45});
  const auto vlan = frame_of_type({0x81, 0, 0x20, 5, 0x86, 0xdd});
  const auto length = frame_of_type({0, 50, 0xaa, 0xaa});
  const auto raw = frame_of_type({0, 50, 0xff, 0xff});
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, protocol)), htons(0x0800));
  EXPECT_EQ(skb_field(vlan, offsetof(__sk_buff, protocol)), htons(0x86dd));
  EXPECT_EQ(skb_field(length, offsetof(__sk_buff, protocol)), htons(4));
  EXPECT_EQ(skb_field(raw, offsetof(__sk_buff, protocol)), htons(1));
  EXPECT_EQ(skb_field(vlan, offsetof(__sk_buff, vlan_present)), 1u);
  EXPECT_EQ(skb_field(vlan, offsetof(__sk_buff, vlan_tci)), 0x2005u);
  EXPECT_EQ(skb_field(vlan, offsetof(__sk_buff, len)), 60u);
  EXPECT_EQ(packet.bytes(), vlan);
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, vlan_present)), 0u);
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, ifindex)), kNic0);
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, ingress_ifindex)), kNic0);
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, len)), 64u);
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, queue_mapping)), 1u);
  EXPECT_EQ(skb_field(ipv4, offsetof(__sk_buff, pkt_type)), 0u);
  EXPECT_EQ(skb_field(frame_of_type({8, 0}, 0xff), offsetof(__sk_buff, pkt_type)), 1u);
  EXPECT_EQ(skb_field(frame_of_type({8, 0}, 0x33), offsetof(__sk_buff, pkt_type)), 2u);
}

TEST_F(PathTest, XdpMayShortenAPacketToItsEthernetHeader) {
  attach(hooks, vm::HookPoint::xdp_native, adjust_head(50));
  attach(hooks, vm::HookPoint::tc_ingress, give(TC_ACT_OK));
  EXPECT_EQ(go().end, End::delivered);
  EXPECT_EQ(packet.length(), 14u);
}

TEST_F(PathTest, ALongFramesRestFollowsTheProgramsPartUnchanged) {
  std::vector<uint8_t> frame(9000, 4);
  for (size_t i = 0; i < frame.size(); ++i) frame[i] = static_cast<uint8_t>(i % 251);
  attach(hooks, vm::HookPoint::xdp_native, verdict_of_source_address());
  EXPECT_EQ(go(frame).reason, DropReason::none);
  EXPECT_EQ(packet.length(), 9000u);
  frame[11] = 0xee;
  EXPECT_EQ(packet.bytes(), frame);
}

TEST(DropReasons, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kDropReasons; ++i) {
    const auto name = drop_reason_name(static_cast<DropReason>(i));
    EXPECT_FALSE(name.empty()) << i;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(drop_reason_name(DropReason::runt), "runt");
  EXPECT_EQ(drop_reason_name(DropReason::tc_fault), "tc_fault");
}

}  // namespace
}  // namespace xnic::sim
