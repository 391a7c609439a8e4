// What must hold on any card: nothing is lost uncounted, times add up, and more of a thing never
// makes it worse. Random profiles; each run has a process of its own, since SystemC simulates once.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>

#include "sim/system.h"
#include "sim/usage.h"
#include "tests/sim/programs.h"

namespace xnic::sim {
namespace {

// What is compared of a run.
struct Figures {
  uint64_t frames, ended, no_room, delivered;
  uint64_t latency_sum, stages_sum, ring_sum, least_latency;
  double simulated_ps, ring_mean, port_busy, cpu_busy_share;
  bool done;
};

Figures figures_of(const RunSummary& summary) {
  Figures f{};
  f.frames = summary.frames;
  f.delivered = summary.delivered;
  f.ended = summary.delivered + summary.transmitted + all_drops(summary);
  f.no_room = dropped(summary, DropReason::no_descriptor);
  f.latency_sum = summary.latency.sum_ps;
  f.least_latency = summary.latency.minimum_ps;
  for (const StageLatency& stage : summary.stages) {
    f.stages_sum += stage.latency.sum_ps;
    if (stage.name == "ring") f.ring_sum = stage.latency.sum_ps;
  }
  f.simulated_ps = static_cast<double>(summary.simulated_ns) * 1000;
  for (const nic::Resource& resource : summary.resources) {
    const double share = utilisation(resource, summary.simulated_ns);
    EXPECT_GE(share, 0);
    EXPECT_LE(share, 1);
    if (resource.name.starts_with("ring")) f.ring_mean += resource.packet_time_ps;
    if (resource.name == "port 0 rx") f.port_busy = static_cast<double>(resource.busy);
    if (resource.name.starts_with("cpu")) f.cpu_busy_share = std::max(f.cpu_busy_share, share);
  }
  f.done = true;
  return f;
}

Figures run(const std::vector<Sent>& traffic, const RunOptions& options) {
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    Hooks hooks = no_hooks();
    NoSink sink;
    const auto summary = run_timed(source_of(traffic), hooks, options, sink);
    const Figures figures = summary ? figures_of(*summary) : Figures{};
    _exit(write(ends[1], &figures, sizeof(figures)) == sizeof(figures) ? 0 : 1);
  }
  close(ends[1]);
  Figures figures{};
  if (read(ends[0], &figures, sizeof(figures)) != sizeof(figures)) figures.done = false;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(figures.done);
  return figures;
}

// A card of any sizes and speeds within an order of magnitude or two of real ones.
RunOptions random_card(std::mt19937& random, bool lossy) {
  RunOptions made = options();
  made.lossy = lossy;
  const auto between = [&random](double least, double most) {
    return std::exp(std::uniform_real_distribution(std::log(least), std::log(most))(random));
  };
  nic::NicProfile& p = made.profile;
  p.link_gbps.value = between(10, 400);
  p.queues.value = std::floor(between(1, 16));
  p.queue_packets.value = std::floor(between(1, 1000));
  p.lane_gtps.value = between(2.5, 32);
  p.lanes.value = std::floor(between(1, 16));
  p.ring_descriptors.value = std::floor(between(1, 2000));
  p.interrupt_latency_ns.value = between(10, 10'000);
  p.interrupt_moderation_ns.value = random() % 2 == 0 ? 0 : between(1000, 50'000);
  p.cores.value = std::floor(between(1, 16));
  p.napi_weight_packets.value = std::floor(between(1, 128));
  p.poll_ns.value = between(1, 1000);
  p.packet_ns.value = between(5, 500);
  p.read_latency_ns.value = between(10, 2000);
  p.write_latency_ns.value = between(10, 2000);
  return made;
}

class TimingProperties : public testing::TestWithParam<uint32_t> {
 protected:
  std::mt19937 random_{GetParam()};
  uint32_t number(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  uint32_t seed() { return static_cast<uint32_t>(random_()); }
};

TEST_P(TimingProperties, AllFramesEndAndTheirStagesAddUp) {
  for (const bool lossy : {false, true}) {
    const auto traffic = random_traffic(2000, number(300'000), seed());
    const Figures f = run(traffic, random_card(random_, lossy));
    EXPECT_EQ(f.frames, traffic.size());
    EXPECT_EQ(f.ended, f.frames);
    EXPECT_EQ(f.stages_sum, f.latency_sum);
  }
}

// Mean number of packets in the ring = packets a second x mean time there. The left side is kept by
// the card as packets are taken, the right side is the story that packets tell at their end.
TEST_P(TimingProperties, TheRingObeysLittlesLaw) {
  const auto traffic = random_traffic(2000, number(300'000), seed());
  const Figures f = run(traffic, random_card(random_, true));
  EXPECT_DOUBLE_EQ(f.ring_mean, static_cast<double>(f.ring_sum));
}

TEST_P(TimingProperties, ThePortIsBusyForAsLongAsTheFramesTakeOnTheWire) {
  const RunOptions card = random_card(random_, true);
  const auto traffic = random_traffic(1000, 100'000, seed());
  double bits = 0;
  for (const Sent& frame : traffic) {
    bits += 8.0 * static_cast<double>(std::max<size_t>(frame.bytes.size() + 4, 64) + 20);
  }
  // Each frame's time is rounded to a picosecond.
  EXPECT_NEAR(run(traffic, card).port_busy, bits * 1000 / card.profile.link_gbps.value, 1000);
}

// A ring that holds more makes polls longer, and one that is polled sooner makes them shorter and
// more of them: what comes through may change so much by that, in packets of 100.
constexpr uint64_t kPolls = 1;

TEST_P(TimingProperties, ALargerRingLosesNoMorePackets) {
  RunOptions card = random_card(random_, true);
  card.profile.ddio_kib.value = 1 << 20;  // a cache that holds all of it: DDIO thrash is another's
  const auto traffic = random_traffic(3000, number(50'000), seed());
  const uint64_t before = run(traffic, card).no_room;
  card.profile.ring_descriptors.value *= 1 + number(4);
  EXPECT_LE(run(traffic, card).no_room, before + traffic.size() * kPolls / 100);
}

TEST_P(TimingProperties, MoreCpusBringNoLessThrough) {
  RunOptions card = random_card(random_, true);
  card.profile.link_gbps.value = 400;
  card.profile.queues.value = 16;
  card.profile.lanes.value = 32;
  card.profile.interrupt_latency_ns.value = 0;
  card.profile.interrupt_moderation_ns.value = 0;
  card.profile.ring_descriptors.value = std::max(card.profile.ring_descriptors.value, 64.0);
  card.profile.cores.value = 1u << number(4);
  const auto traffic = random_traffic(3000, number(50'000), seed());
  const uint64_t before = run(traffic, card).delivered;
  card.profile.cores.value *= 2;
  EXPECT_GE(run(traffic, card).delivered + traffic.size() * kPolls / 100, before);
}

TEST_P(TimingProperties, ALonePacketIsNoSlowerOverAWiderLink) {
  RunOptions card = random_card(random_, false);
  const auto traffic = random_traffic(1, 0, seed());
  const uint64_t before = run(traffic, card).least_latency;
  card.profile.lanes.value *= 2;
  card.profile.link_gbps.value *= 2;
  EXPECT_LE(run(traffic, card).least_latency, before);
}

INSTANTIATE_TEST_SUITE_P(RandomCards, TimingProperties, testing::Range(1u, 9u));

}  // namespace
}  // namespace xnic::sim
