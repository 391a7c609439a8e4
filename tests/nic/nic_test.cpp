#include "nic/nic.h"

#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace xnic::nic {
namespace {

// A system around the NIC that feeds frames of one size and lets a test answer the NIC's calls.
class Bench : public NicClient {
 public:
  explicit Bench(const NicOptions& options,
                 NicProfile profile = load_profile("generic-100g").value())
      : wheel_("wheel"), nic("nic0", profile, options, wheel_, *this) {}

  void run(uint64_t frames, Picoseconds gap, uint32_t bytes = 60) {
    frames_ = frames;
    gap_ = gap;
    bytes_ = bytes;
    nic.start();
    sc_core::sc_start();
  }

  Result<std::unique_ptr<Transit>> next_frame() override {
    if (given_ == frames_) return nullptr;
    auto transit = std::make_unique<Transit>();
    frame_.assign(bytes_, 1);
    transit->frame.bytes = frame_;
    transit->frame.id = given_ + 1;
    transit->arrival = given_++ * gap_;
    return transit;
  }
  void taken_in(Transit& transit) override {
    transit.packet.assign(transit.frame.bytes);
    transit.packet.id = transit.frame.id;
  }
  Offloaded offload(Transit&, Picoseconds) override { return offloaded; }
  void offload_dropped(std::unique_ptr<Transit>, Picoseconds now) override {
    ++dropped;
    last = now;
  }
  void lost(std::unique_ptr<Transit>, NicDrop reason, Picoseconds) override { ++losses[reason]; }
  void sent(std::unique_ptr<Transit>, Picoseconds now) override {
    ++transmitted;
    last = now;
  }
  void interrupt(uint32_t queue) override {
    ++interrupts;
    if (on_interrupt) on_interrupt(queue);
  }

 private:
  Wheel wheel_;
  uint64_t frames_ = 0;
  uint64_t given_ = 0;
  Picoseconds gap_ = 0;
  uint32_t bytes_ = 60;
  std::vector<uint8_t> frame_;

 public:
  Nic nic;
  Offloaded offloaded;
  std::function<void(uint32_t)> on_interrupt;
  std::map<NicDrop, uint64_t> losses;
  uint64_t dropped = 0;
  uint64_t transmitted = 0;
  uint64_t interrupts = 0;
  Picoseconds last = 0;
};

TEST(Nic, WithoutADriverOneRingIsFilledOneInterruptFiresAndTheSourceWaits) {
  ASSERT_TRUE(prepare_systemc());
  Bench bench({});
  bench.run(2000, 0);
  EXPECT_EQ(bench.interrupts, 1u);
  EXPECT_TRUE(bench.losses.empty());
  uint64_t filled = 0;
  while (auto transit = bench.nic.take(0, kEndOfTime)) EXPECT_EQ(transit->packet.id, ++filled);
  EXPECT_EQ(filled, 1024u);
}

TEST(Nic, WithoutADriverALossySourceLosesWhatFindsNoDescriptor) {
  ASSERT_TRUE(prepare_systemc());
  Bench bench({.lossy = true});
  bench.run(2000, 100'000);
  EXPECT_EQ(bench.losses[NicDrop::no_descriptor], 2000u - 1024);
}

TEST(Nic, ALossySourceFasterThanPcieFillsTheReceiveQueue) {
  ASSERT_TRUE(prepare_systemc());
  NicProfile slow = load_profile("generic-100g").value();
  slow.lanes.value = 1;
  slow.queue_packets.value = 16;
  slow.ring_descriptors.value = 100'000;
  Bench bench({.lossy = true}, slow);
  bench.run(20'000, 6720);
  uint64_t filled = 0;
  while (bench.nic.take(0, kEndOfTime)) ++filled;
  EXPECT_GT(bench.losses[NicDrop::rx_queue_full], 0u);
  EXPECT_EQ(filled + bench.losses[NicDrop::rx_queue_full], 20'000u);
  // 60 bytes and a completion of 64 with a header each are 172 bytes on a link of 7.24 Gb/s.
  EXPECT_NEAR(static_cast<double>(filled), 20'000 * 6.72 / (172 * 8 / 7.236), 50.0);
}

TEST(Nic, FramesThatTheMacRefusesDoNotReachTheRing) {
  ASSERT_TRUE(prepare_systemc());
  Bench bench({.mtu = 1500});
  bench.run(10, 0, 1515);
  EXPECT_EQ(bench.losses[NicDrop::oversize], 10u);
  EXPECT_EQ(bench.interrupts, 0u);
}

TEST(Nic, WhatTheOffloadEngineSendsBackLeavesAtItsPaceWithoutTheHost) {
  ASSERT_TRUE(prepare_systemc());
  Bench bench({});
  bench.offloaded = {.ran = true, .way = Offloaded::Way::transmit, .work = {.instructions = 50}};
  bench.run(10'000, 0);
  EXPECT_EQ(bench.transmitted, 10'000u);
  EXPECT_EQ(bench.interrupts, 0u);
  // A run takes 50 ns and 50 instructions of 1 ns.
  EXPECT_NEAR(static_cast<double>(bench.last) / 1000, 10'000 * 100.0, 100.0);
}

TEST(Nic, AnInterruptArmedAfterPacketsCameFiresForThem) {
  ASSERT_TRUE(prepare_systemc());
  Bench bench({});
  uint64_t taken = 0;
  bench.on_interrupt = [&](uint32_t queue) {
    while (bench.nic.take(queue, sc_core::sc_time_stamp().value())) ++taken;
    bench.nic.post(queue, 0);
    bench.nic.arm(queue);
  };
  bench.run(500, 700'000);
  EXPECT_EQ(taken, 500u);
  EXPECT_GT(bench.interrupts, 1u);
  EXPECT_LT(bench.interrupts, 500u);
}

}  // namespace
}  // namespace xnic::nic
