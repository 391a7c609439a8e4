// The fast mode of the timing model against the exact one, on every shipped profile.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/system.h"
#include "tests/sim/programs.h"

namespace xnic::sim {
namespace {

struct Figures {
  bool done;
  double mpps;  // of what was not lost for want of room
  double median_ps, p99_ps;
};

// In a process of its own, since SystemC simulates once.
Figures run(const std::vector<Sent>& traffic, RunOptions options, int32_t code, bool exact) {
  options.exact = exact;
  int ends[2];
  if (pipe(ends) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    Hooks hooks = no_hooks();
    attach(hooks, vm::HookPoint::xdp_native, give(code));
    NoSink sink;
    const auto summary = run_timed(source_of(traffic), hooks, options, sink);
    Figures figures{};
    if (summary) {
      const uint64_t no_room = dropped(*summary, DropReason::no_descriptor) +
                               dropped(*summary, DropReason::rx_queue_full);
      figures = {true,
                 static_cast<double>(summary->frames - no_room) * 1000 /
                     static_cast<double>(summary->simulated_ns),
                 static_cast<double>(summary->latency.median_ps),
                 static_cast<double>(summary->latency.p99_ps)};
    }
    _exit(write(ends[1], &figures, sizeof figures) == sizeof figures ? 0 : 1);
  }
  close(ends[1]);
  Figures figures{};
  if (read(ends[0], &figures, sizeof figures) != sizeof figures) figures.done = false;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(figures.done);
  return figures;
}

std::vector<Sent> flows(size_t count, uint64_t gap_ps) {
  std::vector<Sent> traffic;
  for (size_t i = 0; i < count; ++i) {
    std::vector<uint8_t> bytes(60, 2);
    bytes[12] = 0x08;
    bytes[13] = 0x00;
    bytes[14] = 0x45;
    bytes[29] = static_cast<uint8_t>(i * 7);
    traffic.push_back({std::move(bytes), i * gap_ps});
  }
  return traffic;
}

struct Case {
  const char* name;
  uint64_t gap_ps;
  bool lossy;
  double queues;
  double cores;
};

class Accuracy : public testing::TestWithParam<Case> {};

TEST_P(Accuracy, FastIsWithinTwoPercentInThroughputAndFiveInLatencyOfExact) {
  for (const auto& builtin : nic::builtin_profiles()) {
    for (const int32_t code : {XDP_DROP, XDP_PASS, XDP_TX}) {
      RunOptions options;
      options.profile = nic::load_profile(std::string(builtin.name)).value();
      options.lossy = GetParam().lossy;
      options.profile.queues.value = GetParam().queues;
      options.profile.cores.value = GetParam().cores;
      const auto traffic = flows(30'000, GetParam().gap_ps);
      const Figures exact = run(traffic, options, code, true);
      const Figures fast = run(traffic, options, code, false);
      EXPECT_NEAR(fast.mpps, exact.mpps, 0.02 * exact.mpps) << builtin.name << " code " << code;
      EXPECT_NEAR(fast.median_ps, exact.median_ps, 0.05 * exact.median_ps)
          << builtin.name << " code " << code;
      EXPECT_NEAR(fast.p99_ps, exact.p99_ps, 0.05 * exact.p99_ps)
          << builtin.name << " code " << code;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Loads, Accuracy,
                         testing::Values(Case{"line_rate", 6720, true, 1, 1},
                                         Case{"line_rate_spread", 6720, true, 4, 4},
                                         Case{"more_queues_than_cores", 6720, true, 4, 2},
                                         Case{"nothing_lost", 6720, false, 1, 1},
                                         Case{"ten_gigabit", 67'200, true, 1, 1},
                                         Case{"half_load", 100'000, true, 2, 2},
                                         Case{"own_pace", 5'000'000, false, 1, 1}),
                         [](const auto& one) { return std::string(one.param.name); });

}  // namespace
}  // namespace xnic::sim
