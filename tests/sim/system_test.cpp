#include "sim/system.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/untimed.h"
#include "tests/sim/programs.h"

namespace xnic::sim {
namespace {

using AttachAll = void (*)(Hooks&);

void offload_and_host(Hooks& hooks) {
  attach(hooks, vm::HookPoint::xdp_offload, adjust_head(-4));
  attach(hooks, vm::HookPoint::xdp_native, verdict_of_source_address());
  attach(hooks, vm::HookPoint::xdp_generic, adjust_head(4));
  attach(hooks, vm::HookPoint::tc_ingress, random_shot());
}

// Same packets, same bytes, same hooks, verdicts and ends; only times differ.
void expect_same_meaning(const std::vector<Sent>& traffic, AttachAll attach_all,
                         const RunOptions& chosen) {
  Hooks timed_hooks = no_hooks();
  attach_all(timed_hooks);
  KeepingSink timed;
  const auto timed_summary = run_timed(source_of(traffic), timed_hooks, chosen, timed);
  ASSERT_TRUE(timed_summary) << timed_summary.error().message;
  expect_whole(traffic, timed, *timed_summary);

  Hooks untimed_hooks = no_hooks();
  attach_all(untimed_hooks);
  KeepingSink untimed;
  const auto untimed_summary = run_untimed(source_of(traffic), untimed_hooks, chosen, untimed);
  ASSERT_TRUE(untimed_summary);
  EXPECT_EQ(timed_summary->drops, untimed_summary->drops);
  for (size_t i = 0; i < traffic.size(); ++i) {
    const Kept& a = timed.packets[i];
    const Kept& b = untimed.packets[i];
    ASSERT_EQ(a.bytes, b.bytes) << "packet " << i + 1;
    ASSERT_EQ(a.mark, b.mark) << "packet " << i + 1;
    ASSERT_EQ(a.outcome.end, b.outcome.end) << "packet " << i + 1;
    ASSERT_EQ(a.outcome.reason, b.outcome.reason) << "packet " << i + 1;
    ASSERT_EQ(a.outcome.queue, b.outcome.queue);
    ASSERT_EQ(a.outcome.events.size(), b.outcome.events.size());
    for (size_t n = 0; n < a.outcome.events.size(); ++n) {
      ASSERT_EQ(a.outcome.events[n].hook, b.outcome.events[n].hook);
      ASSERT_EQ(a.outcome.events[n].result.verdict, b.outcome.events[n].result.verdict);
      ASSERT_EQ(a.outcome.events[n].result.code, b.outcome.events[n].result.code);
    }
  }
}

TEST(System, MeansTheSameAsTheUntimedReplayAtThePaceOfTheTraffic) {
  expect_same_meaning(random_traffic(5000, 1'000'000, 11), offload_and_host, options());
}

TEST(System, MeansTheSameAsTheUntimedReplayWhenAllFramesAreOfferedAtOnce) {
  expect_same_meaning(random_traffic(5000, 0, 12), offload_and_host, options());
}

TEST(System, MeansTheSameAsTheUntimedReplayOnManyQueuesWithOneCpuForEach) {
  RunOptions spread = options();
  spread.profile.queues.value = 4;
  spread.profile.cores.value = 4;
  spread.mtu = 1500;
  expect_same_meaning(
      random_traffic(5000, 100'000, 13),
      [](Hooks& hooks) {
        attach(hooks, vm::HookPoint::xdp_native, verdict_of_source_address());
        attach(hooks, vm::HookPoint::tc_ingress, random_shot());
      },
      spread);
}

TEST(System, LosesNothingToPaceOnATinyCardUnlessTheSourceIsLossy) {
  RunOptions tiny = options();
  tiny.profile.ring_descriptors.value = 2;
  tiny.profile.queue_packets.value = 1;
  const auto traffic = random_traffic(3000, 0, 14);
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, tiny, sink);
  ASSERT_TRUE(summary);
  expect_whole(traffic, sink, *summary);
  EXPECT_EQ(all_drops(*summary), dropped(*summary, DropReason::runt));
}

TEST(System, AFrameThatWaitsForTheOnlyDescriptorArrivesAfterThePacketBeforeItEnded) {
  RunOptions single = options();
  single.profile.ring_descriptors.value = 1;
  const std::vector<Sent> traffic(100, Sent{std::vector<uint8_t>(60, 2), 0});
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, single, sink);
  ASSERT_TRUE(summary);
  expect_whole(traffic, sink, *summary);
  for (size_t i = 1; i < traffic.size(); ++i) {
    EXPECT_GE(sink.packets[i].outcome.arrival_ps, sink.packets[i - 1].outcome.end_ps);
  }
}

TEST(System, CountsEveryFrameThatALossySourceLoses) {
  RunOptions lossy = options();
  lossy.lossy = true;
  const auto traffic = random_traffic(20'000, 30'000, 15);
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, lossy, sink);
  ASSERT_TRUE(summary);
  expect_whole(traffic, sink, *summary);
  EXPECT_GT(dropped(*summary, DropReason::no_descriptor), 0u);
  for (size_t i = 0; i < traffic.size(); ++i) {
    EXPECT_EQ(sink.packets[i].outcome.arrival_ps, traffic[i].time_ps);
  }
}

std::vector<Sent> minimum_frames(size_t count, uint64_t gap_ps) {
  std::vector<Sent> traffic;
  for (size_t i = 0; i < count; ++i) traffic.push_back({std::vector<uint8_t>(60, 2), i * gap_ps});
  return traffic;
}

// Mpps of one CPU whose program gives `code`, 64-byte frames at 100 Gb/s.
double single_core_mpps(int32_t code) {
  const auto traffic = minimum_frames(100'000, 6720);
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::xdp_native, give(code));
  RunOptions lossy = options();
  lossy.lossy = true;
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, lossy, sink);
  EXPECT_TRUE(summary);
  return static_cast<double>(hooks[1].statistics().runs) * 1000 /
         static_cast<double>(summary->simulated_ns);
}

// The eXpress Data Path, CoNEXT'18, authors' benchmark notes: one core drops 24.4 Mpps and
// transmits 16.2 Mpps on a ConnectX-5.
TEST(System, OneCpuDropsWithinATenthOfThePublishedRate) {
  EXPECT_NEAR(single_core_mpps(XDP_DROP), 24.4, 2.44);
}

TEST(System, OneCpuTransmitsWithinATenthOfThePublishedRate) {
  EXPECT_NEAR(single_core_mpps(XDP_TX), 16.2, 1.62);
}

TEST(System, ALonePacketTakesTheSumOfItsStages) {
  const auto traffic = minimum_frames(1, 0);
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, options(), sink);
  ASSERT_TRUE(summary);
  // Wire 72 bytes, parser, 84 + 88 bytes over PCIe and its latency, interrupt, poll, driver, skb
  // with a new page in its place, and a sink.
  const double pcie = (84 + 88) * 8 / (126.0308 * 0.918583);
  const double expected = 5.76 + 50 + pcie + 205.6 + 1000 + 100 + 39.1 + 23.8 + 86.8 + 30 + 18.3;
  EXPECT_NEAR(static_cast<double>(summary->latency.minimum_ps) / 1000, expected, 0.01);
  EXPECT_EQ(summary->latency.minimum_ps, summary->latency.maximum_ps);
}

TEST(System, PacketsFarApartDoNotFeelEachOther) {
  const auto traffic = minimum_frames(50, 3'600'000'000'000'000);
  Hooks hooks = no_hooks();
  attach(hooks, vm::HookPoint::xdp_native, give(XDP_TX));
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, options(), sink);
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->transmitted, 50u);
  EXPECT_EQ(summary->latency.minimum_ps, summary->latency.maximum_ps);
}

TEST(System, ARunTooLongForTheClockIsAnError) {
  std::vector<Sent> traffic = minimum_frames(2, 0);
  traffic[1].time_ps = UINT64_MAX - 1'000'000;
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const auto summary = run_timed(source_of(traffic), hooks, options(), sink);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().code, ExitCode::bad_input);
}

TEST(System, AnErrorOfTheSourceEndsTheRun) {
  Hooks hooks = no_hooks();
  KeepingSink sink;
  const FrameSource broken = [](std::span<traces::Frame>) -> Result<size_t> {
    return fail(ExitCode::bad_input, "The capture is cut.");
  };
  const auto summary = run_timed(broken, hooks, options(), sink);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().message, "The capture is cut.");
}

TEST(System, ASecondTimedRunInAProcessIsRefusedInASentence) {
  const auto traffic = minimum_frames(1, 0);
  Hooks hooks = no_hooks();
  KeepingSink sink;
  ASSERT_TRUE(run_timed(source_of(traffic), hooks, options(), sink));
  const auto second = run_timed(source_of(traffic), hooks, options(), sink);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ExitCode::usage);
}

// All times, bytes and verdicts of a run as text, made in a child process, since a process
// simulates once.
std::string run_in_child() {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    const auto traffic = random_traffic(2000, 200'000, 16);
    Hooks hooks = no_hooks();
    offload_and_host(hooks);
    RunOptions spread = options();
    spread.profile.queues.value = 4;
    KeepingSink sink;
    const bool ran = run_timed(source_of(traffic), hooks, spread, sink).has_value();
    std::string text = ran ? "" : "failed";
    for (const Kept& kept : sink.packets) {
      text += fmt::format("{} {} {}:", kept.outcome.arrival_ps, kept.outcome.end_ps, kept.mark);
      for (const HookEvent& event : kept.outcome.events) {
        text += fmt::format(" {} {}", event.time_ps, event.result.verdict);
      }
      text.append(kept.bytes.begin(), kept.bytes.end());
    }
    const uint64_t digest = std::hash<std::string>()(text);
    const auto line = fmt::format("{} {}", text.size(), digest);
    const bool written = write(ends[1], line.data(), line.size()) > 0;
    _exit(ran && written ? 0 : 1);
  }
  close(ends[1]);
  char line[64] = {};
  const ssize_t size = read(ends[0], line, sizeof line);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0 && size > 0 ? std::string(line, static_cast<size_t>(size)) : "failed";
}

TEST(System, TheSameInputsAndSeedGiveTheSameRunToThePicosecond) {
  const std::string first = run_in_child();
  EXPECT_NE(first, "failed");
  EXPECT_EQ(first, run_in_child());
}

}  // namespace
}  // namespace xnic::sim
