// The verifier beside the kernel's, in the same run: straight code, and code that branches every
// few instructions, of several lengths. Times are those of following values alone: ours as the
// verifier's statistics have it, Linux's as its log tells ("verification time"). Rates are
// instructions looked at, each as often as a path came along.
#include <benchmark/benchmark.h>

#include <vector>

#include "bench/kernel_load.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"
#include "vm/verifier.h"

namespace {

using namespace xnic;
using Program = std::vector<bpf_insn>;

constexpr bpf_insn alu(uint8_t operation, uint8_t to, int32_t value) {
  return {static_cast<uint8_t>(BPF_ALU64 | operation | BPF_K), to, 0, 0, value};
}
constexpr bpf_insn alu_register(uint8_t operation, uint8_t to, uint8_t from) {
  return {static_cast<uint8_t>(BPF_ALU64 | operation | BPF_X), to, from, 0, 0};
}

// r6: the context; r7, r8: the packet's first 64 bytes are there; r9: a number.
Program beginning() {
  return {
      alu_register(BPF_MOV, 6, 1),
      {BPF_LDX | BPF_MEM | BPF_W, 7, 6, 0, 0},
      {BPF_LDX | BPF_MEM | BPF_W, 8, 6, 4, 0},
      {BPF_LDX | BPF_MEM | BPF_W, 9, 6, 12, 0},
      alu_register(BPF_MOV, 2, 7),
      alu(BPF_ADD, 2, 64),
      {BPF_JMP | BPF_JLE | BPF_X, 2, 8, 2, 0},
      alu(BPF_MOV, 0, 1),
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
      alu(BPF_MOV, 0, 2),
  };
}

// Parts of a parser: bytes of the packet, arithmetic, the stack.
void add_straight(Program& program, uint32_t round) {
  const auto at = static_cast<int16_t>(round % 32);
  const auto slot = static_cast<int16_t>(-8 - 8 * static_cast<int>(round % 8));
  program.insert(program.end(), {
                                    {BPF_LDX | BPF_MEM | BPF_H, 3, 7, at, 0},
                                    alu(BPF_LSH, 3, 3),
                                    alu(BPF_AND, 3, 0x7f8),
                                    alu_register(BPF_XOR, 9, 3),
                                    {BPF_STX | BPF_MEM | BPF_DW, 10, 9, slot, 0},
                                    alu_register(BPF_MOV, 4, 9),
                                    alu(BPF_ADD, 4, 17),
                                    {BPF_LDX | BPF_MEM | BPF_DW, 9, 10, slot, 0},
                                });
}

// The same with a branch that either way comes to the same place.
void add_branchy(Program& program, uint32_t round) {
  const auto at = static_cast<int16_t>(round % 32);
  program.insert(program.end(),
                 {
                     {BPF_LDX | BPF_MEM | BPF_B, 3, 7, at, 0},
                     {BPF_JMP | BPF_JGT | BPF_K, 3, 0, 1, static_cast<int32_t>(round % 200)},
                     alu(BPF_ADD, 9, 1),
                     alu_register(BPF_XOR, 9, 3),
                 });
}

Program make(uint32_t length, void (*add)(Program&, uint32_t)) {
  Program program = beginning();
  for (uint32_t round = 0; program.size() + 8 < length; ++round) add(program, round);
  program.push_back({BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
  return program;
}

class NoMaps : public vm::MapResolver {
 public:
  std::shared_ptr<vm::Map> map_by_fd(int) override { return nullptr; }
};

void run_ours(benchmark::State& state, void (*add)(Program&, uint32_t)) {
  const Program program = make(static_cast<uint32_t>(state.range(0)), add);
  uint64_t instructions = 0;
  for (auto _ : state) {
    NoMaps maps;
    vm::ProgramSpec spec;
    spec.type = BPF_PROG_TYPE_XDP;
    spec.instructions = program;
    const auto verified = vm::Verifier::verify(std::move(spec), {}, maps, {.values = true});
    if (!verified) {
      state.SkipWithError(verified.error().message.c_str());
      return;
    }
    const vm::VerifierStatistics& took = (*verified)->verifier_statistics();
    instructions += took.instructions;
    state.SetIterationTime(std::chrono::duration<double>(took.time).count());
  }
  state.counters["ns/insn"] =
      benchmark::Counter(static_cast<double>(instructions) * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void run_linux(benchmark::State& state, void (*add)(Program&, uint32_t)) {
  const Program program = make(static_cast<uint32_t>(state.range(0)), add);
  uint64_t instructions = 0;
  for (auto _ : state) {
    const auto took = bench::time_kernel_load(program);
    if (!took) {
      state.SkipWithError(took.error().c_str());
      return;
    }
    instructions += took->looked_at;
    state.SetIterationTime(took->verify_ns * 1e-9);
  }
  state.counters["ns/insn"] =
      benchmark::Counter(static_cast<double>(instructions) * 1e-9,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void straight(benchmark::State& state) { run_ours(state, add_straight); }
void straight_linux(benchmark::State& state) { run_linux(state, add_straight); }
void branchy(benchmark::State& state) { run_ours(state, add_branchy); }
void branchy_linux(benchmark::State& state) { run_linux(state, add_branchy); }

BENCHMARK(straight)->Arg(4'000)->Arg(100'000)->UseManualTime();
BENCHMARK(straight_linux)->Arg(4'000)->Arg(100'000)->UseManualTime();
BENCHMARK(branchy)->Arg(4'000)->Arg(24'000)->Arg(120'000)->UseManualTime();
BENCHMARK(branchy_linux)->Arg(4'000)->Arg(24'000)->Arg(120'000)->UseManualTime();

}  // namespace
