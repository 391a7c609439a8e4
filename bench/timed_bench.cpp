// The timed model on one core: simulated packets a second of the wall's clock, from a capture in
// the page cache to the verdict, fast and exact. The program drops every frame. Each measurement is
// a process of its own, since SystemC simulates once. Items are packets.
#include <benchmark/benchmark.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "bench/capture_file.h"
#include "jit/jit_engine.h"
#include "sim/system.h"
#include "traces/merged_reader.h"
#include "traces/player.h"
#include "vm/kernel.h"
#include "vm/loader.h"

namespace xnic::bench {
namespace {

constexpr uint32_t kFrames = 1u << 16;
constexpr uint64_t kLoops = 16;
const char* const kObject = XNIC_BENCH_OBJECTS "/code.o";

// UDP of 256 flows.
std::vector<uint8_t> frame(uint32_t number, uint32_t size) {
  std::vector<uint8_t> bytes = {2, 0, 0, 0,  0,  2, 2, 0,  0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0, 0,
                                1, 0, 0, 64, 17, 0, 0, 11, 0, 0, 0, 2, 0, 0, 10,   4, 0, 0, 53};
  bytes.resize(size);
  bytes[16] = static_cast<uint8_t>((size - 14) >> 8);
  bytes[17] = static_cast<uint8_t>(size - 14);
  bytes[29] = bytes[35] = static_cast<uint8_t>(number);
  return bytes;
}

struct Load {
  vm::HookPoint hook = vm::HookPoint::xdp_native;
  double link_gbps = 10;
  uint32_t queues = 1;
  uint32_t cores = 1;
  bool large = false;   // frames of 1514 bytes, not of 60
  uint64_t gap_us = 0;  // the capture's own pace, 0 for the wire's
  bool exact = false;
};

const std::string& capture(bool large) {
  constexpr std::array<uint32_t, 1> kSmall = {60};
  constexpr std::array<uint32_t, 2> kLarge = {1514, 1514};
  static const CaptureFile small_file(kFrames, kSmall, frame);
  static const CaptureFile large_file(kFrames, kLarge, frame);
  return (large ? large_file : small_file).path();
}

// Seconds, or less than 0.
double run(const Load& load) {
  jit::JitEngine engine;
  vm::Kernel kernel(engine, {.possible_cpus = load.cores});
  const auto object = vm::Object::load(kernel, kObject);
  if (!object) return -1;
  vm::Hooks hooks = vm::make_hooks();
  for (const vm::LoadedProgram& one : (*object)->programs()) {
    if (one.name == "drop") hooks[static_cast<size_t>(load.hook)].attach(one.program);
  }
  sim::RunOptions options;
  options.profile = nic::load_profile("generic-100g").value();
  options.profile.link_gbps.value = load.link_gbps;
  options.profile.queues.value = load.queues;
  options.profile.cores.value = load.cores;
  options.profile.offload_fixed_ns.value = 5;
  options.lossy = load.gap_us == 0;
  options.exact = load.exact;
  options.network = &kernel.network();
  std::vector<std::unique_ptr<traces::Reader>> readers;
  readers.push_back(std::move(*traces::Reader::open(capture(load.large), "")));
  traces::MergedReader reader(std::move(readers));
  traces::PlayerOptions pace{.loops = kLoops, .link_gbps = load.link_gbps};
  if (options.lossy) pace.rate = traces::Rate{100, traces::Rate::percent};
  traces::Player player(reader, pace);
  const sim::FrameSource source = [&](std::span<traces::Frame> frames) {
    const auto got = player.next_burst(frames);
    if (!got || load.gap_us == 0) return got;
    for (traces::Frame& one : frames.first(*got)) one.time_ps = one.id * load.gap_us * 1'000'000;
    return got;
  };
  sim::NoSink sink;
  const auto start = std::chrono::steady_clock::now();
  const auto summary = sim::run_timed(source, hooks, options, sink);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  const bool dropped = summary && summary->frames == kFrames * kLoops && summary->delivered == 0;
  return dropped ? time.count() : -1;
}

void timed(benchmark::State& state, const Load& load) {
  capture(load.large);
  for (auto _ : state) {
    int ends[2];
    if (pipe(ends) != 0) break;
    const pid_t child = fork();
    if (child == 0) {
      const double seconds = run(load);
      _exit(write(ends[1], &seconds, sizeof seconds) == sizeof seconds ? 0 : 1);
    }
    close(ends[1]);
    double seconds = -1;
    if (read(ends[0], &seconds, sizeof seconds) != sizeof seconds) seconds = -1;
    close(ends[0]);
    waitpid(child, nullptr, 0);
    if (seconds < 0) {
      state.SkipWithError("the run failed");
      break;
    }
    state.SetIterationTime(seconds);
  }
  state.SetItemsProcessed(state.iterations() * int64_t{kFrames} * int64_t{kLoops});
}

void add(const std::string& name, Load load) {
  for (const bool exact : {false, true}) {
    load.exact = exact;
    benchmark::RegisterBenchmark(((exact ? "timed_exact/" : "timed/") + name).c_str(),
                                 [load](benchmark::State& state) { timed(state, load); })
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace
}  // namespace xnic::bench

int main(int argc, char** argv) {
  using xnic::bench::add;
  constexpr auto kOffload = xnic::vm::HookPoint::xdp_offload;
  add("host_10g", {});
  add("host_100g", {.link_gbps = 100});
  add("host_100g_4_queues", {.link_gbps = 100, .queues = 4, .cores = 4});
  add("host_100g_4_queues_1_core", {.link_gbps = 100, .queues = 4});
  add("host_100g_1514", {.link_gbps = 100, .large = true});
  add("offload_10g", {.hook = kOffload});
  add("offload_100g", {.hook = kOffload, .link_gbps = 100});
  add("own_pace", {.link_gbps = 100, .gap_us = 20});
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
