// Machine code of programs in bench/programs beside its rivals: the kernel by BPF_PROG_TEST_RUN
// (`net` is its time less that of a program that drops at once, measured in turns with it), and,
// for programs without helpers, the kernel's machine code called from here. The packet has 64
// bytes, of `checksum` 1,500, and is not reset between runs. Counted code adds up instructions.
// Test of the code itself: tests/jit.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "bench/kernel_rival.h"
#include "jit/jit_engine.h"
#include "vm/hook.h"
#include "vm/invocation.h"
#include "vm/kernel.h"
#include "vm/loader.h"
#include "vm/verifier.h"

namespace xnic::bench {
namespace {

constexpr uint32_t kCpus = 2;

struct Row {
  const char* object;
  const char* program;
  uint32_t packet_bytes = 64;
  bool has_image = false;  // whether the kernel's code runs outside of it
};

constexpr Row kRows[] = {
    {"code", "drop", 64, true},
    {"code", "parse", 64, true},
    {"code", "forward", 64, true},
    {"code", "checksum", 1500, true},
    {"code", "jhash", 64, true},
    {"code", "siphash", 64, true},
    {"maps", "array"},
    {"maps", "percpu"},
    {"maps", "hash_small"},
    {"maps", "hash_hot"},
    {"maps", "hash_random"},
    {"maps", "lpm_small"},
    {"maps", "lpm_large"},
    {"maps", "lru_evict"},
    {"maps", "load_balancer"},
    {"calls", "function_calls"},
    {"calls", "tail_static"},
    {"calls", "tail_dynamic"},
    {"calls", "loop"},
    {"calls", "clock"},
    {"calls", "adjust"},
};

// What a map holds, keys and values one behind the other.
struct Contents {
  const char* map;
  uint32_t count;
  Bytes keys{};
  Bytes values{};

  template <class Key, class Value>
  void add(const Key& key, const Value& value) {
    const auto append = [](Bytes& to, const auto& object) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&object);
      to.insert(to.end(), bytes, bytes + sizeof(object));
    };
    append(keys, key);
    append(values, value);
  }
};

constexpr uint32_t kDestination = 0x0200000a;  // 10.0.0.2, network byte order
constexpr uint16_t kPort = 0x3500;             // 53, likewise

Bytes udp_packet(uint32_t size) {
  Bytes packet = {2, 0,  0,  0, 0, 2,  2, 0, 0, 0,  0, 1, 8, 0, 0x45, 0, 0,  0, 0, 1, 0,
                  0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0,    0, 53, 0, 0, 0, 0};
  packet.resize(size);
  const uint32_t length = size - 14;
  packet[16] = static_cast<uint8_t>(length >> 8);
  packet[17] = static_cast<uint8_t>(length);
  for (uint32_t i = 42; i < size; ++i) packet[i] = static_cast<uint8_t>(i * 7);
  return packet;
}

Contents hashed(const char* map, uint32_t count) {
  Contents contents{map, count};
  for (uint32_t i = 0; i < count; ++i) contents.add(i * 2654435761u, uint64_t{i});
  return contents;
}

// Prefixes of 8 to 28 bits all over the address space.
Contents prefixes(const char* map, uint32_t count) {
  struct Prefix {
    uint32_t length;
    uint32_t address;
  };
  Contents contents{map, count};
  uint32_t random = 1;
  for (uint32_t i = 0; i < count; ++i) {
    random = random * 1664525 + 1013904223;
    const uint32_t length = 8 + (random >> 8) % 21;
    random = random * 1664525 + 1013904223;
    const uint32_t address = random & ~(UINT32_MAX >> length);
    contents.add(Prefix{length, __builtin_bswap32(address)}, uint64_t{i});
  }
  return contents;
}

const std::vector<Contents>& all_contents() {
  static const std::vector<Contents> kContents = [] {
    std::vector<Contents> all = {hashed("hash_1k", 1024), hashed("hash_1m", 1u << 20),
                                 prefixes("lpm_1k", 1000), prefixes("lpm_100k", 100'000)};
    Contents services{"services", 1};
    services.add(kDestination | uint64_t{kPort} << 32, uint32_t{3});
    all.push_back(std::move(services));
    return all;
  }();
  return kContents;
}

std::string path_of(const Row& row) {
  return std::string(XNIC_BENCH_OBJECTS) + "/" + row.object + ".o";
}

// The emulated machine with one of the objects in it.
class Machine {
 public:
  Machine(const Row& row, vm::Engine& engine) : kernel_(engine, options()) {
    auto loaded = vm::Object::load(kernel_, path_of(row));
    if (!loaded) {
      why_not = loaded.error().message;
      return;
    }
    object_ = std::move(*loaded);
    for (const vm::LoadedProgram& one : object_->programs()) {
      if (one.name == row.program) program = one.program.get();
    }
    for (const vm::LoadedMap& one : object_->maps()) fill(one);
  }

  const vm::Program* program = nullptr;
  std::string why_not;
  vm::Environment& environment() { return kernel_.environment(); }

 private:
  static vm::KernelOptions options() {
    vm::KernelOptions options;
    options.possible_cpus = kCpus;
    options.verify_values = true;
    return options;
  }
  static void fill(const vm::LoadedMap& one) {
    for (const Contents& contents : all_contents()) {
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

void run_ours(benchmark::State& state, const Row& row, vm::Engine& engine) {
  Machine machine(row, engine);
  if (machine.program == nullptr) {
    state.SkipWithError(machine.why_not.c_str());
    return;
  }
  const Bytes frame = udp_packet(row.packet_bytes);
  vm::Packet packet(frame);
  vm::Invocation invocation(packet, machine.environment());
  const vm::Code& code = machine.program->code();
  uint64_t r0 = 0;
  for (auto _ : state) benchmark::DoNotOptimize(r0 = code.run(invocation));
  if (r0 == XDP_ABORTED || invocation.fault) state.SkipWithError("the program aborted");
}

// What a run costs with what is around it: an Invocation of its own, and, of a hook, statistics.
void run_whole(benchmark::State& state, const Row& row, vm::Engine& engine, bool in_hook) {
  Machine machine(row, engine);
  if (machine.program == nullptr) {
    state.SkipWithError(machine.why_not.c_str());
    return;
  }
  const Bytes frame = udp_packet(row.packet_bytes);
  vm::Packet packet(frame);
  vm::Environment& environment = machine.environment();
  if (in_hook) {
    vm::Hook hook(vm::HookPoint::xdp_native);
    hook.attach(machine.program->shared_from_this());
    for (auto _ : state) benchmark::DoNotOptimize(hook.run(packet, environment).code);
    return;
  }
  const vm::Code& code = machine.program->code();
  for (auto _ : state) {
    vm::Invocation invocation(packet, environment);
    benchmark::DoNotOptimize(code.run(invocation));
  }
}

KernelRival* kernel_rival(const Row& row) {
  static std::map<std::string, std::unique_ptr<KernelRival>> loaded;
  const auto [at, is_new] = loaded.try_emplace(row.object);
  if (is_new) {
    at->second = KernelRival::load(path_of(row));
    if (at->second == nullptr) return nullptr;
    for (const Contents& contents : all_contents()) {
      if (std::strcmp(row.object, "maps") != 0) break;
      at->second->fill(contents.map, contents.keys, contents.values, contents.count);
    }
  }
  return at->second.get();
}

void run_kernel(benchmark::State& state, const Row& row) {
  constexpr uint32_t kRepeat = 100'000;
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

class NoMaps : public vm::MapResolver {
 public:
  std::shared_ptr<vm::Map> map_by_fd(int) override { return nullptr; }
};

// Arithmetic, stack and short branches, so many instructions.
std::vector<bpf_insn> long_program(uint32_t length) {
  std::vector<bpf_insn> code = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1},
                                {BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 100}};
  while (code.size() + 8 < length) {
    code.push_back({BPF_ALU64 | BPF_ADD | BPF_X, 0, 2, 0, 0});
    code.push_back({BPF_STX | BPF_MEM | BPF_DW, 10, 0, -8, 0});
    code.push_back({BPF_LDX | BPF_MEM | BPF_W, 3, 10, -8, 0});
    code.push_back({BPF_ALU64 | BPF_XOR | BPF_X, 2, 3, 0, 0});
    code.push_back({BPF_ALU64 | BPF_MUL | BPF_K, 2, 0, 0, 31});
    code.push_back({BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 5});
    code.push_back({BPF_JMP | BPF_JA, 0, 0, 0, 0});
    code.push_back({BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 7});
  }
  code.push_back({BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
  return code;
}

// Items are instructions.
void compile(benchmark::State& state) {
  NoMaps maps;
  vm::ProgramSpec spec;
  spec.type = BPF_PROG_TYPE_XDP;
  spec.instructions = long_program(static_cast<uint32_t>(state.range(0)));
  const auto program = vm::Verifier::verify(std::move(spec), {}, maps, {.values = true});
  if (!program) {
    state.SkipWithError(program.error().message.c_str());
    return;
  }
  jit::JitEngine engine({.counts = false});
  for (auto _ : state) benchmark::DoNotOptimize(engine.compile(**program));
  const auto instructions = static_cast<double>((*program)->instructions().size());
  state.counters["ns_per_instruction"] =
      benchmark::Counter(static_cast<double>(state.iterations()) * instructions * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(compile)->Arg(4'000)->Arg(100'000);

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
        ->Iterations(7);
    if (!row.has_image) continue;
    benchmark::RegisterBenchmark(name("kernel_image", row).c_str(),
                                 [&row](auto& state) { run_image(state, row); });
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
