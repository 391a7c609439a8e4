// What translating a program to machine code takes, beside what the kernel's load takes besides
// verification: its JIT, and what it copies and allocates.
#include <benchmark/benchmark.h>

#include <vector>

#include "bench/kernel_load.h"
#include "jit/jit_engine.h"
#include "vm/verifier.h"

namespace xnic::bench {
namespace {

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

benchmark::Counter per_instruction(const benchmark::State& state, size_t instructions) {
  return {static_cast<double>(state.iterations()) * static_cast<double>(instructions) * 1e-9,
          benchmark::Counter::kIsRate | benchmark::Counter::kInvert};
}

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
  state.counters["ns_per_instruction"] = per_instruction(state, (*program)->instructions().size());
}

// What the kernel's load takes besides verification.
void compile_linux(benchmark::State& state) {
  const std::vector<bpf_insn> program = long_program(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    const auto took = time_kernel_load(program);
    if (!took) {
      state.SkipWithError(took.error().c_str());
      return;
    }
    state.SetIterationTime(took->other_ns * 1e-9);
  }
  state.counters["ns_per_instruction"] = per_instruction(state, program.size());
}

BENCHMARK(compile)->Arg(4'000)->Arg(100'000);
BENCHMARK(compile_linux)->Arg(4'000)->Arg(100'000)->UseManualTime()->Iterations(3);

}  // namespace
}  // namespace xnic::bench
