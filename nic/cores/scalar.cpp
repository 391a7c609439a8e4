#include "nic/cores/scalar.h"

#include <algorithm>
#include <cmath>

#include "vm/isa.h"

namespace xnic::nic {
namespace {

bool accesses_map(int32_t helper) {
  switch (helper) {
    case BPF_FUNC_map_lookup_elem:
    case BPF_FUNC_map_update_elem:
    case BPF_FUNC_map_delete_elem:
    case BPF_FUNC_map_push_elem:
    case BPF_FUNC_map_pop_elem:
    case BPF_FUNC_map_peek_elem:
    case BPF_FUNC_map_lookup_percpu_elem:
    case BPF_FUNC_redirect_map:
      return true;
    default:
      return false;
  }
}

}  // namespace

ScalarCore::ScalarCore(const NicProfile& profile)
    : fixed_(from_nanoseconds(profile.offload_fixed_ns.value)),
      cycle_fs_(static_cast<uint64_t>(std::llround(1e9 / profile.offload_clock_mhz.value))),
      instruction_cycles_(profile.offload_instruction_cycles.whole()),
      helper_cycles_(profile.offload_helper_cycles.whole()),
      map_cycles_(profile.offload_map_cycles.whole()) {}

std::vector<uint32_t> ScalarCore::costs(const vm::Program& program) const {
  const auto instructions = program.instructions();
  std::vector<uint32_t> cycles(instructions.size(), instruction_cycles_);
  for (size_t i = 0; i < instructions.size(); ++i) {
    const bpf_insn& insn = instructions[i];
    if (vm::opcode(insn).kind != vm::Kind::call || insn.src_reg == BPF_PSEUDO_CALL) continue;
    const bool helper = insn.src_reg == 0;
    cycles[i] += helper && accesses_map(insn.imm) ? map_cycles_ : helper_cycles_;
  }
  return cycles;
}

CoreModel::Time ScalarCore::time(const CoreWork& work) const {
  const uint64_t computed = work.instructions * instruction_cycles_;
  const auto picoseconds = [&](uint64_t cycles) { return (cycles * cycle_fs_ + 500) / 1000; };
  return {.computes = fixed_ + picoseconds(computed),
          .waits = picoseconds(work.cost > computed ? work.cost - computed : 0)};
}

}  // namespace xnic::nic
