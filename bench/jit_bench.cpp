// The interpreter beside the JIT: one run of a program that drops at once, and of a mix of
// arithmetic and jumps. Rates are eBPF instructions a second.
#include <benchmark/benchmark.h>

#include "jit/jit_engine.h"
#include "vm/interpreter.h"
#include "vm/invocation.h"
#include "vm/verifier.h"

namespace {

using namespace xnic;

class NoMaps : public vm::MapResolver {
 public:
  std::shared_ptr<vm::Map> map_by_fd(int) override { return nullptr; }
};

std::vector<bpf_insn> drop() {
  return {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_DROP}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
}

// A hash-like loop of 100 rounds.
std::vector<bpf_insn> mix() {
  return {
      {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1},
      {BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 100},
      {BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 0x9e3779b},
      {BPF_ALU64 | BPF_MOV | BPF_X, 3, 0, 0, 0},
      {BPF_ALU64 | BPF_RSH | BPF_K, 3, 0, 0, 29},
      {BPF_ALU64 | BPF_XOR | BPF_X, 0, 3, 0, 0},
      {BPF_ALU | BPF_ADD | BPF_K, 3, 0, 0, 7},
      {BPF_JMP32 | BPF_JSET | BPF_K, 3, 0, 1, 1},
      {BPF_ALU64 | BPF_ADD | BPF_X, 0, 3, 0, 0},
      {BPF_ALU64 | BPF_SUB | BPF_K, 2, 0, 0, 1},
      {BPF_JMP | BPF_JNE | BPF_K, 2, 0, -9, 0},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
}

template <class Engine>
void run(benchmark::State& state, std::vector<bpf_insn> (*code)()) {
  NoMaps maps;
  vm::ProgramSpec spec;
  spec.type = BPF_PROG_TYPE_XDP;
  spec.instructions = code();
  const auto program = vm::Verifier::verify(std::move(spec), {}, maps);
  if (!program) {
    state.SkipWithError(program.error().message.c_str());
    return;
  }
  Engine engine;
  const std::unique_ptr<vm::Code> runnable = engine.compile(**program);
  vm::Packet packet;
  vm::Environment environment;
  vm::Invocation invocation{.packet = packet, .environment = environment};
  for (auto _ : state) benchmark::DoNotOptimize(runnable->run(invocation));
  state.SetItemsProcessed(static_cast<int64_t>(invocation.instructions));
}

void interpreter(benchmark::State& state, std::vector<bpf_insn> (*code)()) {
  run<vm::Interpreter>(state, code);
}
void jit(benchmark::State& state, std::vector<bpf_insn> (*code)()) {
  run<xnic::jit::JitEngine>(state, code);
}

BENCHMARK_CAPTURE(interpreter, drop, drop);
BENCHMARK_CAPTURE(jit, drop, drop);
BENCHMARK_CAPTURE(interpreter, mix, mix);
BENCHMARK_CAPTURE(jit, mix, mix);

}  // namespace
