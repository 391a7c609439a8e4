// The untimed replay from a capture in the page cache to the verdict, on one core: a capture of
// 2^20 UDP flows, a packet of each, by a program that drops and by one that looks its flow up in a
// hash map that holds them all. The rival is Linux with live frames (BPF_F_TEST_XDP_LIVE_FRAMES),
// which only drops, and reads no capture. Items are packets; both are measured in turns.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

#include "bench/capture_file.h"
#include "bench/kernel_rival.h"
#include "jit/jit_engine.h"
#include "sim/untimed.h"
#include "traces/merged_reader.h"
#include "traces/player.h"
#include "vm/kernel.h"
#include "vm/loader.h"

namespace xnic::bench {
namespace {

constexpr uint32_t kFlows = 1u << 20;
const char* const kObject = XNIC_BENCH_OBJECTS "/replay.o";

// As in programs/packet.h, network byte order.
struct Flow {
  uint32_t source;
  uint32_t destination;
  uint16_t source_port;
  uint16_t destination_port;
  uint32_t protocol;
};

Flow flow(uint32_t number) {
  return {.source = __builtin_bswap32(0x0b000000 + number),
          .destination = 0x0200000a,
          .source_port = __builtin_bswap16(static_cast<uint16_t>(1024 + number % 50'000)),
          .destination_port = 0x3500,
          .protocol = 17};
}

Bytes frame(uint32_t number, uint32_t size) {
  Bytes bytes = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0};
  bytes.resize(size);
  bytes[16] = static_cast<uint8_t>((size - 14) >> 8);
  bytes[17] = static_cast<uint8_t>(size - 14);
  const Flow of = flow(number);
  std::memcpy(&bytes[26], &of, 12);
  return bytes;
}

const std::string& capture(bool mixed) {
  static const std::vector<uint32_t> order = [] {
    std::vector<uint32_t> flows(kFlows);
    std::iota(flows.begin(), flows.end(), 0u);
    std::shuffle(flows.begin(), flows.end(), std::mt19937(1));
    return flows;
  }();
  const auto of_flow = [](uint32_t number, uint32_t size) { return frame(order[number], size); };
  static const CaptureFile small(kFlows, kSmallFrames, of_flow);
  static const CaptureFile mix(kFlows, kMixedFrames, of_flow);
  return (mixed ? mix : small).path();
}

void replay(benchmark::State& state, const char* program, bool mixed, bool ahead) {
  jit::JitEngine engine;
  vm::Kernel kernel(engine, {.possible_cpus = 8});
  const auto object = vm::Object::load(kernel, kObject);
  if (!object) {
    state.SkipWithError(object.error().message.c_str());
    return;
  }
  vm::Map& flows = *(*object)->maps().front().map;
  for (uint32_t i = 0; i < kFlows; ++i) {
    const Flow key = flow(i);
    const uint64_t value = i;
    flows.user_update(reinterpret_cast<const uint8_t*>(&key),
                      reinterpret_cast<const uint8_t*>(&value), BPF_ANY);
  }
  vm::Hooks hooks = vm::make_hooks();
  for (const vm::LoadedProgram& one : (*object)->programs()) {
    if (one.name != program) continue;
    if (!ahead) std::const_pointer_cast<vm::Program>(one.program)->set_prologue(nullptr);
    hooks[static_cast<size_t>(vm::HookPoint::xdp_native)].attach(one.program);
  }
  sim::RunOptions options;
  options.profile = nic::load_profile("generic-100g").value();
  options.network = &kernel.network();
  sim::NoSink sink;
  const std::string& path = capture(mixed);
  uint64_t dropped = 0;
  for (auto _ : state) {
    std::vector<std::unique_ptr<traces::Reader>> readers;
    readers.push_back(std::move(*traces::Reader::open(path, "")));
    traces::MergedReader reader(std::move(readers));
    traces::Player player(reader, {});
    const auto summary =
        sim::run_untimed([&](std::span<traces::Frame> frames) { return player.next_burst(frames); },
                         hooks, options, sink);
    dropped = summary ? summary->drops[static_cast<size_t>(sim::DropReason::xdp_drop)] : 0;
  }
  if (dropped != kFlows) state.SkipWithError("not every packet was dropped");
  state.SetItemsProcessed(state.iterations() * int64_t{kFlows});
}

void live_frames(benchmark::State& state) {
  const auto rival = KernelRival::load(kObject);
  if (rival == nullptr) {
    state.SkipWithError("this kernel does not let us load programs");
    return;
  }
  const Bytes packet = frame(1, 64);
  constexpr uint32_t kRepeat = 1'000'000;
  for (auto _ : state) {
    const double time = rival->run_live("drop", packet, kRepeat);
    if (time < 0) {
      state.SkipWithError("BPF_PROG_TEST_RUN failed");
      break;
    }
    state.SetIterationTime(time * 1e-9 * kRepeat);
  }
  state.SetItemsProcessed(state.iterations() * int64_t{kRepeat});
}

BENCHMARK(live_frames)->UseManualTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, drop_64, "drop", false, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, drop_imix, "drop", true, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, look_up_64, "look_up", false, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, look_up_imix, "look_up", true, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(replay, look_up_64_without_prologue, "look_up", false, false)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace xnic::bench
