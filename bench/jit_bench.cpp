// Machine code of programs in bench/programs beside its rivals: the kernel by BPF_PROG_TEST_RUN
// (`net` is its time less that of a program that drops at once, measured in turns with it); for
// programs without helpers the kernel's machine code called from here, and the same C compiled for
// this machine. The packet has 64 bytes, of `checksum` 1,500, and is not reset between runs.
// Counted code adds up instructions. Test of the code itself: tests/jit.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <utility>

#include "bench/kernel_rival.h"
#include "bench/workload.h"
#include "jit/jit_engine.h"
#include "vm/hook.h"
#include "vm/invocation.h"
#include "vm/kernel.h"
#include "vm/loader.h"

namespace xnic::bench {
namespace {

constexpr uint32_t kCpus = 2;

// The context of the native programs (bench/programs/native.h).
struct NativeContext {
  const uint8_t* data;
  const uint8_t* data_end;
  const uint8_t* data_meta;
};
extern "C" {
int native_drop(NativeContext*);
int native_parse(NativeContext*);
int native_forward(NativeContext*);
int native_checksum(NativeContext*);
int native_jhash(NativeContext*);
int native_siphash(NativeContext*);
}

struct Row {
  const char* object;
  const char* program;
  uint32_t packet_bytes = 64;
  // The same C for this machine; of programs without helpers, whose code runs outside of the
  // kernel.
  int (*native)(NativeContext*) = nullptr;
};

constexpr Row kRows[] = {
    {"code", "drop", 64, native_drop},
    {"code", "parse", 64, native_parse},
    {"code", "forward", 64, native_forward},
    {"code", "checksum", 1500, native_checksum},
    {"code", "jhash", 64, native_jhash},
    {"code", "siphash", 64, native_siphash},
    {"maps", "array"},
    {"maps", "percpu"},
    {"maps", "hash_small"},
    {"maps", "hash_hot"},
    {"maps", "hash_random"},
    {"maps", "lpm_small"},
    {"maps", "lpm_large"},
    {"maps", "lpm_hot"},
    {"maps", "lru_evict"},
    {"maps", "load_balancer"},
    {"calls", "function_calls"},
    {"calls", "tail_static"},
    {"calls", "tail_dynamic"},
    {"calls", "loop"},
    {"calls", "clock"},
    {"calls", "adjust"},
};

std::string path_of(const Row& row) {
  return std::string(XNIC_BENCH_OBJECTS) + "/" + row.object + ".o";
}

// The emulated machine with one of the objects in it.
class Machine {
 public:
  Machine(const std::string& object, vm::Engine& engine) : kernel_(engine, options()) {
    auto loaded = vm::Object::load(kernel_, object);
    if (!loaded) {
      why_not = loaded.error().message;
      return;
    }
    object_ = std::move(*loaded);
    for (const vm::LoadedMap& one : object_->maps()) fill(one);
  }

  // One for all measurements with the object and the engine, since filling maps takes long.
  static Machine& of(const Row& row, vm::Engine& engine) {
    static std::map<std::pair<std::string, vm::Engine*>, std::unique_ptr<Machine>> all;
    std::unique_ptr<Machine>& it = all[{row.object, &engine}];
    if (it == nullptr) it = std::make_unique<Machine>(path_of(row), engine);
    return *it;
  }

  std::string why_not;
  const vm::Program* program(const Row& row) const {
    if (object_ == nullptr) return nullptr;
    const auto& all = object_->programs();
    const auto found = std::ranges::find(all, row.program, &vm::LoadedProgram::name);
    return found == all.end() ? nullptr : found->program.get();
  }
  vm::Environment& environment() { return kernel_.environment(); }

 private:
  static vm::KernelOptions options() {
    vm::KernelOptions options;
    options.possible_cpus = kCpus;
    options.verify_values = true;
    return options;
  }
  static void fill(const vm::LoadedMap& one) {
    for (const Contents& contents : map_contents()) {
      if (one.name != contents.map) continue;
      const size_t key_size = contents.keys.size() / contents.count;
      const size_t value_size = contents.values.size() / contents.count;
      for (uint32_t i = 0; i < contents.count; ++i) {
        one.map->user_update(contents.keys.data() + i * key_size,
                             contents.values.data() + i * value_size, BPF_ANY);
      }
    }
  }

  vm::Kernel kernel_;
  std::unique_ptr<vm::Object> object_;
};

// Null where there is none, which the benchmark then says.
const vm::Program* program_of(benchmark::State& state, Machine& machine, const Row& row) {
  const vm::Program* const program = machine.program(row);
  if (program == nullptr) state.SkipWithError(machine.why_not.c_str());
  return program;
}

void run_ours(benchmark::State& state, const Row& row, vm::Engine& engine) {
  Machine& machine = Machine::of(row, engine);
  const vm::Program* const program = program_of(state, machine, row);
  if (program == nullptr) return;
  const Bytes frame = udp_packet(row.packet_bytes);
  vm::Packet packet(frame);
  vm::Invocation invocation(packet, machine.environment());
  const vm::Code& code = program->code();
  uint64_t r0 = 0;
  for (auto _ : state) benchmark::DoNotOptimize(r0 = code.run(invocation));
  if (r0 == XDP_ABORTED || invocation.fault) state.SkipWithError("the program aborted");
}

// The machine code alone, called as the kernel's is.
void run_code(benchmark::State& state, const Row& row, vm::Engine& engine) {
  Machine& machine = Machine::of(row, engine);
  const vm::Program* const program = program_of(state, machine, row);
  if (program == nullptr) return;
  using Entry = uint64_t (*)(vm::Invocation&, vm::Packet*);
  const auto entry = std::bit_cast<Entry>(program->code().entry());
  if (entry == nullptr) {
    state.SkipWithError("the program has no machine code");
    return;
  }
  vm::Packet packet(udp_packet(row.packet_bytes));
  vm::Invocation invocation{packet, machine.environment()};
  for (auto _ : state) benchmark::DoNotOptimize(entry(invocation, &packet));
}

// What a run costs with what is around it: an Invocation of its own, and, of a hook, statistics.
void run_whole(benchmark::State& state, const Row& row, vm::Engine& engine, bool in_hook) {
  Machine& machine = Machine::of(row, engine);
  const vm::Program* const program = program_of(state, machine, row);
  if (program == nullptr) return;
  const Bytes frame = udp_packet(row.packet_bytes);
  vm::Packet packet(frame);
  vm::Environment& environment = machine.environment();
  if (in_hook) {
    vm::Hook hook(vm::HookPoint::xdp_native);
    hook.attach(program->shared_from_this());
    for (auto _ : state) benchmark::DoNotOptimize(hook.run(packet, environment).code);
    return;
  }
  const vm::Code& code = program->code();
  for (auto _ : state) {
    vm::Invocation invocation(packet, environment);
    benchmark::DoNotOptimize(code.run(invocation));
  }
}

void run_native(benchmark::State& state, const Row& row) {
  const Bytes packet = udp_packet(row.packet_bytes);
  NativeContext context{packet.data(), packet.data() + packet.size(), packet.data()};
  for (auto _ : state) benchmark::DoNotOptimize(row.native(&context));
}

KernelRival* kernel_rival(const Row& row) {
  static std::map<std::string, std::unique_ptr<KernelRival>> loaded;
  const auto [at, is_new] = loaded.try_emplace(row.object);
  if (is_new) {
    at->second = KernelRival::load(path_of(row));
    if (at->second == nullptr) return nullptr;
    for (const Contents& contents : map_contents()) {
      if (std::strcmp(row.object, "maps") != 0) break;
      at->second->fill(contents.map, contents.keys, contents.values, contents.count);
    }
  }
  return at->second.get();
}

void run_kernel(benchmark::State& state, const Row& row) {
  constexpr uint32_t kRepeat = 50'000;
  KernelRival* rival = kernel_rival(row);
  KernelRival* empty = kernel_rival(kRows[0]);
  if (rival == nullptr || empty == nullptr) {
    state.SkipWithError("this kernel does not let us load programs");
    return;
  }
  const Bytes packet = udp_packet(row.packet_bytes);
  std::vector<double> net;
  for (auto _ : state) {
    const double nothing = empty->run(kRows[0].program, packet, kRepeat);
    const double time = rival->run(row.program, packet, kRepeat);
    if (time < 0 || nothing < 0) {
      state.SkipWithError("BPF_PROG_TEST_RUN failed");
      break;
    }
    net.push_back(time - nothing);
    state.SetIterationTime(time * 1e-9);
  }
  if (net.empty()) return;
  std::ranges::nth_element(net, net.begin() + static_cast<ptrdiff_t>(net.size() / 2));
  state.counters["net"] = net[net.size() / 2];
}

void run_image(benchmark::State& state, const Row& row) {
  KernelRival* rival = kernel_rival(row);
  const auto image = rival == nullptr ? nullptr : rival->image(row.program);
  if (image == nullptr) {
    state.SkipWithError("this kernel does not show its machine code");
    return;
  }
  Bytes packet = udp_packet(row.packet_bytes);
  uint8_t* const start = packet.data();
  KernelImage::Context context{start, start + packet.size(), start, start, {}};
  for (auto _ : state) benchmark::DoNotOptimize(image->run(context));
}

void register_rows() {
  static jit::JitEngine plain({.counts = false});
  static jit::JitEngine counting;
  static vm::Interpreter interpreter;
  const auto name = [](const char* what, const Row& row) {
    return std::string(what) + "/" + row.program;
  };
  const Row& first = kRows[0];
  benchmark::RegisterBenchmark("invocation/drop",
                               [&](auto& state) { run_whole(state, first, plain, false); });
  benchmark::RegisterBenchmark("hook/drop",
                               [&](auto& state) { run_whole(state, first, plain, true); });
  for (const Row& row : kRows) {
    benchmark::RegisterBenchmark(name("jit", row).c_str(),
                                 [&row](auto& state) { run_ours(state, row, plain); });
    benchmark::RegisterBenchmark(name("jit_counted", row).c_str(),
                                 [&row](auto& state) { run_ours(state, row, counting); });
    benchmark::RegisterBenchmark(name("interpreter", row).c_str(),
                                 [&row](auto& state) { run_ours(state, row, interpreter); });
    benchmark::RegisterBenchmark(name("kernel", row).c_str(),
                                 [&row](auto& state) { run_kernel(state, row); })
        ->UseManualTime()
        ->Iterations(3);
    if (row.native == nullptr) continue;
    benchmark::RegisterBenchmark(name("kernel_image", row).c_str(),
                                 [&row](auto& state) { run_image(state, row); });
    benchmark::RegisterBenchmark(name("jit_code", row).c_str(),
                                 [&row](auto& state) { run_code(state, row, plain); });
    benchmark::RegisterBenchmark(name("native", row).c_str(),
                                 [&row](auto& state) { run_native(state, row); });
  }
}

}  // namespace
}  // namespace xnic::bench

int main(int argc, char** argv) {
  xnic::bench::register_rows();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
