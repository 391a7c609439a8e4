// Which registers are still wanted, found backwards over the whole program until nothing changes.
// A function hands r6 to r9 back as it found them, so that what it does to them ends with it.
// Test: tests/jit/jit_test.cpp, by what fusing instructions must not lose.
#include "jit/liveness.h"

#include "vm/isa.h"

namespace xnic::jit {
namespace {

using vm::Kind;

constexpr uint16_t kArguments = 0b111110;      // r1 to r5
constexpr uint16_t kUnsaved = kArguments | 1;  // and r0

constexpr uint16_t bit(uint32_t number) { return static_cast<uint16_t>(1u << number); }

struct Use {
  uint16_t reads = 0;
  uint16_t writes = 0;
};

Use use_of_atomic(const bpf_insn& insn) {
  if (insn.imm == vm::kLoadAcquire) return {bit(insn.src_reg), bit(insn.dst_reg)};
  const auto operands = static_cast<uint16_t>(bit(insn.src_reg) | bit(insn.dst_reg));
  if (insn.imm == vm::kAtomicCompareExchange) {
    return {static_cast<uint16_t>(operands | 1), 1};
  }
  const bool fetches = !vm::is_ordered_access(insn) && (insn.imm & vm::kAtomicFetch) != 0;
  return {operands, fetches ? bit(insn.src_reg) : uint16_t{0}};
}

Use use_of(const bpf_insn& insn) {
  const vm::Opcode& op = vm::opcode(insn);
  const uint16_t dst = bit(insn.dst_reg);
  const uint16_t src = op.source_register ? bit(insn.src_reg) : uint16_t{0};
  switch (op.kind) {
    case Kind::alu:
      return {static_cast<uint16_t>(src | (op.operation == BPF_MOV ? 0 : dst)), dst};
    case Kind::negate:
    case Kind::byte_swap:
      return {dst, dst};
    case Kind::load_immediate:
      return {0, dst};
    case Kind::load:
    case Kind::load_signed:
      return {bit(insn.src_reg), dst};
    case Kind::store:
      return {static_cast<uint16_t>(dst | bit(insn.src_reg)), 0};
    case Kind::store_immediate:
      return {dst, 0};
    case Kind::atomic:
      return use_of_atomic(insn);
    case Kind::jump_if:
      return {static_cast<uint16_t>(dst | src), 0};
    case Kind::call:
      return {kArguments, kUnsaved};
    case Kind::load_packet:
      return {src, kUnsaved};
    case Kind::exit:
      return {1, 0};
    case Kind::jump:
    case Kind::may_goto:
    case Kind::unknown:
      return {};
  }
  return {};
}

}  // namespace

std::vector<uint16_t> live_behind(const vm::Program& program) {
  const std::span<const bpf_insn> insns = program.instructions();
  std::vector<uint16_t> in_front(insns.size() + 1);
  std::vector<uint16_t> behind(insns.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t i = static_cast<uint32_t>(insns.size()); i-- > 0;) {
      const bpf_insn& insn = insns[i];
      const Kind kind = vm::opcode(insn).kind;
      // The second half of ld_imm64 is no instruction; what is in front of it is asked of the
      // first.
      const uint32_t next = i + vm::slots(insn);
      uint16_t live = kind == Kind::exit || kind == Kind::jump || next > insns.size()
                          ? uint16_t{0}
                          : in_front[next];
      if (vm::jumps(kind)) {
        const auto target = static_cast<uint32_t>(int64_t{i} + 1 + vm::jump_distance(insn));
        if (target < insns.size()) live |= in_front[target];
      }
      behind[i] = live;
      const Use use = use_of(insn);
      const auto front = static_cast<uint16_t>(use.reads | (live & ~use.writes));
      changed = changed || front != in_front[i];
      in_front[i] = front;
    }
  }
  return behind;
}

}  // namespace xnic::jit
