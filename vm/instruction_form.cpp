#include "vm/instruction_form.h"

#include <fmt/format.h>

#include <cerrno>

#include "vm/isa.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kFramePointer = 10;
using Verdict = std::optional<Objection>;

Verdict reserved(std::string_view name) {
  return Objection{EINVAL, fmt::format("{} uses reserved fields", name)};
}
Verdict writes_frame_pointer() { return Objection{EACCES, "frame pointer is read only"}; }

Verdict check_alu(const bpf_insn& insn, const Opcode& op) {
  if (op.kind == Kind::negate) {
    if (insn.src_reg != 0 || insn.off != 0 || insn.imm != 0) return reserved("BPF_NEG");
  } else if (op.kind == Kind::byte_swap) {
    const bool width_exists = insn.imm == 16 || insn.imm == 32 || insn.imm == 64;
    if (insn.src_reg != 0 || insn.off != 0 || !width_exists) return reserved("BPF_END");
  } else if (op.operation == BPF_MOV) {
    const bool extends = insn.off == 8 || insn.off == 16 || (insn.off == 32 && op.width == 8);
    if (op.source_register ? (insn.imm != 0 || (insn.off != 0 && !extends))
                           : (insn.src_reg != 0 || insn.off != 0)) {
      return reserved("BPF_MOV");
    }
  } else {
    const bool divides = op.operation == BPF_DIV || op.operation == BPF_MOD;
    if ((op.source_register ? insn.imm != 0 : insn.src_reg != 0) ||
        (insn.off != 0 && !(divides && insn.off == 1))) {
      return reserved("BPF_ALU");
    }
    if (divides && !op.source_register && insn.imm == 0) return Objection{EINVAL, "div by zero"};
    const bool shifts =
        op.operation == BPF_LSH || op.operation == BPF_RSH || op.operation == BPF_ARSH;
    if (shifts && !op.source_register && (insn.imm < 0 || insn.imm >= op.width * 8)) {
      return Objection{EINVAL, fmt::format("invalid shift {}", insn.imm)};
    }
  }
  if (insn.dst_reg == kFramePointer) return writes_frame_pointer();
  return {};
}

Verdict check_jump(const bpf_insn& insn, const Opcode& op) {
  if (op.kind == Kind::may_goto) {
    if (insn.src_reg != 0 || insn.dst_reg != 0 || insn.imm != 0) {
      return Objection{EINVAL, fmt::format("invalid may_goto off {} imm {}", insn.off, insn.imm)};
    }
    return {};
  }
  if (op.kind == Kind::jump) {
    if (insn.src_reg != 0 || insn.dst_reg != 0 || (op.width == 8 ? insn.imm : insn.off) != 0) {
      return reserved("BPF_JA");
    }
    return {};
  }
  if (op.source_register ? insn.imm != 0 : insn.src_reg != 0) return reserved("BPF_JMP/JMP32");
  return {};
}

Verdict check_atomic(const bpf_insn& insn, const Opcode& op) {
  if (!atomic_operation_exists(insn.imm)) {
    return Objection{EINVAL, fmt::format("BPF_ATOMIC uses invalid atomic opcode {:02x}",
                                         static_cast<uint32_t>(insn.imm))};
  }
  if (op.width < 4 && !is_ordered_access(insn)) {
    return Objection{EINVAL, "invalid atomic operand size"};
  }
  if (insn.imm == kLoadAcquire) {
    if (insn.dst_reg == kFramePointer) return writes_frame_pointer();
  } else if ((insn.imm & kAtomicFetch) != 0 && insn.imm != kAtomicCompareExchange &&
             insn.src_reg == kFramePointer) {
    return writes_frame_pointer();
  }
  return {};
}

}  // namespace

std::optional<Objection> objection_to_form(const bpf_insn& insn) {
  const Opcode& op = opcode(insn);
  if (op.kind == Kind::unknown) {
    return Objection{EINVAL, fmt::format("unknown opcode {:02x}", uint32_t{insn.code})};
  }
  for (const uint32_t number : {uint32_t{insn.dst_reg}, uint32_t{insn.src_reg}}) {
    if (number >= kRegisters) return Objection{EINVAL, fmt::format("R{} is invalid", number)};
  }
  switch (op.kind) {
    case Kind::alu:
    case Kind::negate:
    case Kind::byte_swap:
      return check_alu(insn, op);
    case Kind::jump:
    case Kind::jump_if:
    case Kind::may_goto:
      return check_jump(insn, op);
    case Kind::exit:
      if (insn.imm != 0 || insn.src_reg != 0 || insn.dst_reg != 0) return reserved("BPF_EXIT");
      return {};
    case Kind::load_packet:
      if (insn.dst_reg != 0 || insn.off != 0 || (!op.source_register && insn.src_reg != 0)) {
        return reserved("BPF_LD_[ABS|IND]");
      }
      return {};
    case Kind::load:
    case Kind::load_signed:
      if (insn.imm != 0) return reserved("BPF_LDX");
      if (insn.dst_reg == kFramePointer) return writes_frame_pointer();
      return {};
    case Kind::store:
      return insn.imm != 0 ? reserved("BPF_STX") : std::nullopt;
    case Kind::store_immediate:
      return insn.src_reg != 0 ? reserved("BPF_ST") : std::nullopt;
    case Kind::atomic:
      return check_atomic(insn, op);
    case Kind::load_immediate:
    case Kind::call:
    case Kind::unknown:
      return {};
  }
  return {};
}

}  // namespace xnic::vm
