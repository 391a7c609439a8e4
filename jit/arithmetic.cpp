// Arithmetic of the code generator. Pairs of instructions that x86 has one for become that one.
// Test: tests/jit/jit_test.cpp.
#include <algorithm>
#include <bit>

#include "jit/translator.h"

namespace xnic::jit {

using asmjit::Imm;
using vm::Kind;
using vm::Opcode;

namespace {

// Whether the instruction behind a copy or a constant is as where stores were taken apart.
bool leads_to_stores(const bpf_insn& next) {
  const Opcode& op = vm::opcode(next);
  return op.kind == Kind::store || op.operation == BPF_RSH;
}

// The x86 instruction of an operation that is one, whatever the operands.
std::optional<Encoder::Binary> binary_of(uint8_t operation) {
  switch (operation) {
    case BPF_ADD:
      return Encoder::Binary::add;
    case BPF_SUB:
      return Encoder::Binary::sub;
    case BPF_OR:
      return Encoder::Binary::or_;
    case BPF_XOR:
      return Encoder::Binary::xor_;
    default:
      return std::nullopt;
  }
}

}  // namespace

// Gives the index of the instruction to go on with.
uint32_t Translator::alu(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  if (op.operation == BPF_MOV && leads_to_stores(insns_[index + 1])) {
    if (const uint32_t next = assembled_stores(index); next != index) return next;
  }
  if (op.operation == BPF_MOV && op.source_register) {
    if (const uint32_t next = fused_rotate(index); next != index) return next;
    if (const uint32_t next = fused_move(index); next != index) return next;
  }
  if (op.operation == BPF_LSH && fused_shifts(index)) return index + 2;
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  if (const auto operation = binary_of(op.operation)) {
    if (op.source_register) {
      a_.binary(*operation, dst, sized(host_register(insn.src_reg), op.width));
    } else {
      a_.binary(*operation, dst, insn.imm);
    }
    return index + 1;
  }
  switch (op.operation) {
    case BPF_AND:
      bit_and(insn, op);
      break;
    case BPF_MUL:
      if (op.source_register) {
        a_.multiply(dst, sized(host_register(insn.src_reg), op.width));
      } else if (insn.imm > 0 && (insn.imm & (insn.imm - 1)) == 0) {
        a_.shl(dst, Imm(std::countr_zero(static_cast<uint32_t>(insn.imm))));
        if (insn.imm == 1) a_.mov(dst, dst);
      } else {
        a_.multiply(dst, insn.imm);
      }
      break;
    case BPF_DIV:
    case BPF_MOD:
      divide(insn, op);
      break;
    case BPF_MOV:
      move(insn, op);
      break;
    default:
      shift(insn, op);
      break;
  }
  return index + 1;
}

bool Translator::is_dead_behind(uint32_t index, uint32_t number) {
  if (!flow_) flow_ = vm::verifier::analyse_control_flow(program_.spec(), program_.subprograms());
  const vm::verifier::Successors next = vm::verifier::successors(insns_, index);
  return std::none_of(next.at, next.at + next.count, [&](uint32_t place) {
    return (flow_->places[place].live >> number & 1) != 0;
  });
}

// Compilers write a rotation as two shifts of copies and an or:
//   t = s; t >>= n; d = s; d <<= width - n; d |= t     or
//   t = s; t >>= n; s <<= width - n; s |= t
// with the shifts either way round. One rotation, if nobody wants t any more. Gives the index
// behind what was translated, `index` itself if nothing was.
uint32_t Translator::fused_rotate(uint32_t index) {
  const auto is_copy = [](const bpf_insn& insn) {
    return is_alu(insn, BPF_MOV, true) && insn.off == 0 && insn.dst_reg != insn.src_reg;
  };
  const auto is_shift = [](const bpf_insn& insn) {
    return is_alu(insn, BPF_LSH, false) || is_alu(insn, BPF_RSH, false);
  };
  const bpf_insn& copy = insns_[index];
  if (!is_copy(copy) || index + 3 >= function_->end || !is_shift(insns_[index + 1])) return index;
  const uint32_t source = copy.src_reg;
  const uint32_t part = copy.dst_reg;
  const bpf_insn& first = insns_[index + 1];
  uint32_t at = index + 2;
  const bool copies_again = is_copy(insns_[at]) && insns_[at].src_reg == source;
  const uint32_t result = copies_again ? insns_[at].dst_reg : source;
  if (copies_again) ++at;
  if (at + 1 >= function_->end) return index;
  const bpf_insn& second = insns_[at];
  const bpf_insn& join = insns_[at + 1];
  const uint8_t width = vm::opcode(copy).width;
  const auto bits = static_cast<int32_t>(width) * 8;
  const bool fits = is_shift(second) && is_alu(join, BPF_OR, true) && first.dst_reg == part &&
                    second.dst_reg == result && join.dst_reg == result && join.src_reg == part &&
                    result != part && vm::opcode(first).operation != vm::opcode(second).operation &&
                    first.imm + second.imm == bits && first.imm != 0 && second.imm != 0;
  if (!fits) return index;
  for (uint32_t i = index + 1; i <= at + 1; ++i) {
    if (!only_follows(i) || vm::opcode(insns_[i]).width != width) return index;
  }
  if (!is_dead_behind(at + 1, part)) return index;
  const int32_t right = vm::opcode(first).operation == BPF_RSH ? first.imm : second.imm;
  const Gp from = sized(host_register(source), width);
  const Gp to = sized(host_register(result), width);
  if (from == to) {
    a_.ror(to, Imm(right));
  } else if (bmi2_) {
    a_.rorx(to, from, Imm(right));
  } else {
    a_.mov(to, from);
    a_.ror(to, Imm(right));
  }
  return at + 2;
}

// dst = src; dst += something: one lea. dst = src; dst &= a byte or two: one movzx. Gives the index
// behind what was translated, `index` itself if nothing was.
uint32_t Translator::fused_move(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  if (!is_alu(insn, BPF_MOV, true) || insn.off != 0 || !only_follows(index + 1)) return index;
  const bpf_insn& next = insns_[index + 1];
  const uint8_t width = vm::opcode(insn).width;
  if (next.dst_reg != insn.dst_reg || vm::opcode(next).width != width) return index;
  const Gp& src = host_register(insn.src_reg);
  const Gp dst = sized(host_register(insn.dst_reg), width);
  if (is_alu(next, BPF_ADD, false)) {
    a_.lea(dst, x86::ptr(src, next.imm));
    return index + 2;
  }
  if (is_alu(next, BPF_ADD, true) && next.src_reg != insn.dst_reg) {
    a_.lea(dst, x86::ptr(src, host_register(next.src_reg)));
    return index + 2;
  }
  if (is_alu(next, BPF_AND, false) && (next.imm == 0xff || next.imm == 0xffff)) {
    a_.movzx(dst.r32(), sized(src, next.imm == 0xff ? 1 : 2));
    return index + 2;
  }
  return index;
}

// dst <<= n; dst >>= n, which compilers without 32-bit instructions write for a narrower value.
bool Translator::fused_shifts(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  if (insn.code != (BPF_ALU64 | BPF_LSH | BPF_K) || !only_follows(index + 1)) return false;
  const bpf_insn& next = insns_[index + 1];
  const bool is_signed = next.code == (BPF_ALU64 | BPF_ARSH | BPF_K);
  const bool is_unsigned = next.code == (BPF_ALU64 | BPF_RSH | BPF_K);
  if ((!is_signed && !is_unsigned) || next.dst_reg != insn.dst_reg || next.imm != insn.imm) {
    return false;
  }
  const Gp& dst = host_register(insn.dst_reg);
  switch (insn.imm) {
    case 32:
      is_signed ? a_.movsxd(dst, dst.r32()) : a_.mov(dst.r32(), dst.r32());
      return true;
    case 48:
      is_signed ? a_.movsx(dst, dst.r16()) : a_.movzx(dst.r32(), dst.r16());
      return true;
    case 56:
      is_signed ? a_.movsx(dst, dst.r8()) : a_.movzx(dst.r32(), dst.r8());
      return true;
    default:
      return false;
  }
}

void Translator::bit_and(const bpf_insn& insn, const Opcode& op) {
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  if (op.source_register) {
    a_.binary(Encoder::Binary::and_, dst, sized(host_register(insn.src_reg), op.width));
  } else if (insn.imm == 0xff) {
    a_.movzx(dst.r32(), dst.r8());
  } else if (insn.imm == 0xffff) {
    a_.movzx(dst.r32(), dst.r16());
  } else if (insn.imm >= 0) {
    a_.binary(Encoder::Binary::and_, dst.r32(), insn.imm);
  } else {
    a_.binary(Encoder::Binary::and_, dst, insn.imm);
  }
}

bool Translator::divide_by_power_of_two(const bpf_insn& insn, const Opcode& op) {
  const auto divisor = static_cast<uint32_t>(insn.imm);
  if (op.source_register || insn.off == 1 || insn.imm <= 0 || !std::has_single_bit(divisor)) {
    return false;
  }
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  if (op.operation == BPF_MOD) {
    a_.and_(dst.r32(), Imm(divisor - 1));
  } else if (divisor == 1) {
    a_.mov(dst, dst);
  } else {
    a_.shr(dst, Imm(std::countr_zero(divisor)));
  }
  return true;
}

// x86 divides rdx:rax and traps where eBPF has an answer: a zero divisor and the overflow of
// INT_MIN / -1 never reach the instruction.
void Translator::divide(const bpf_insn& insn, const Opcode& op) {
  if (divide_by_power_of_two(insn, op)) return;
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  const Gp divisor = sized(kScratch2, op.width);
  const Gp rax = sized(x86::rax, op.width);
  const Gp rdx = sized(x86::rdx, op.width);
  const bool quotient = op.operation == BPF_DIV;
  const bool is_signed = insn.off == 1;
  const bool may_be_zero = op.source_register;
  const bool may_be_minus_one = is_signed && (op.source_register || insn.imm == -1);
  const Label by_zero = a_.new_label();
  const Label by_minus_one = a_.new_label();
  const Label done = a_.new_label();

  if (op.source_register) {
    a_.mov(divisor, sized(host_register(insn.src_reg), op.width));
  } else {
    a_.mov(divisor, Imm(insn.imm));
  }
  if (may_be_zero) {
    a_.test(divisor, divisor);
    a_.jz(by_zero);
  }
  if (may_be_minus_one) {
    a_.cmp(divisor, Imm(-1));
    a_.je(by_minus_one);
  }
  a_.mov(kScratch0, x86::rax);
  a_.mov(kScratch1, x86::rdx);
  a_.mov(rax, dst);
  if (is_signed) {
    op.width == 8 ? a_.cqo() : a_.cdq();
    a_.idiv(divisor);
  } else {
    a_.xor_(x86::edx, x86::edx);
    a_.div(divisor);
  }
  a_.mov(divisor, quotient ? rax : rdx);
  a_.mov(x86::rax, kScratch0);
  a_.mov(x86::rdx, kScratch1);
  a_.mov(dst, divisor);
  if (may_be_zero || may_be_minus_one) a_.jmp(done);
  if (may_be_zero) {
    a_.mark(by_zero);
    quotient ? a_.xor_(dst, dst) : a_.mov(dst, dst);
  }
  if (may_be_minus_one) {
    if (may_be_zero) a_.jmp(done);
    a_.mark(by_minus_one);
    quotient ? a_.neg(dst) : a_.xor_(dst, dst);
  }
  a_.mark(done);
}

void Translator::shift(const bpf_insn& insn, const Opcode& op) {
  const bool left = op.operation == BPF_LSH;
  const bool is_signed = op.operation == BPF_ARSH;
  const auto apply = [&](const Gp& reg, const asmjit::Operand& by) {
    a_.emit(left        ? x86::Inst::kIdShl
            : is_signed ? x86::Inst::kIdSar
                        : x86::Inst::kIdShr,
            sized(reg, op.width), by);
  };
  const Gp& dst = host_register(insn.dst_reg);
  if (!op.source_register) {
    // By nothing, x86 leaves the upper half of a 32-bit register alone.
    if (insn.imm == 0) return static_cast<void>(a_.mov(sized(dst, op.width), sized(dst, op.width)));
    a_.shift_by(left        ? Encoder::Shift::left
                : is_signed ? Encoder::Shift::signed_right
                            : Encoder::Shift::right,
                sized(dst, op.width), static_cast<uint8_t>(insn.imm));
    return;
  }
  const Gp& src = host_register(insn.src_reg);
  if (bmi2_) {
    const Gp reg = sized(dst, op.width);
    const Gp by = sized(src, op.width);
    a_.emit(left        ? x86::Inst::kIdShlx
            : is_signed ? x86::Inst::kIdSarx
                        : x86::Inst::kIdShrx,
            reg, reg, by);
    return;
  }
  // A variable count must be in cl, which is part of r3.
  const auto zero_upper_half = [&](const Gp& reg) {
    if (op.width == 4) a_.mov(reg.r32(), reg.r32());
  };
  if (src == x86::rcx) {
    zero_upper_half(dst);
    return apply(dst, x86::cl);
  }
  a_.mov(kScratch2, x86::rcx);
  a_.mov(x86::rcx, src);
  if (dst == x86::rcx) {
    zero_upper_half(kScratch2);
    apply(kScratch2, x86::cl);
  } else {
    zero_upper_half(dst);
    apply(dst, x86::cl);
  }
  a_.mov(x86::rcx, kScratch2);
}

void Translator::move(const bpf_insn& insn, const Opcode& op) {
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  if (!op.source_register) {
    if (insn.imm >= 0 || op.width == 4) {
      load_constant(dst, static_cast<uint32_t>(insn.imm));
    } else {
      a_.mov(dst, Imm(insn.imm));
    }
    return;
  }
  const Gp& src = host_register(insn.src_reg);
  switch (insn.off) {
    case 8:
      a_.movsx(dst, src.r8());
      break;
    case 16:
      a_.movsx(dst, src.r16());
      break;
    case 32:
      a_.movsxd(dst, src.r32());
      break;
    default:
      a_.binary(Encoder::Binary::mov, dst, sized(src, op.width));
      break;
  }
}

// The 64-bit class always swaps; the 32-bit class does where its source bit says big endian, since
// the host is little endian.
bool Translator::swaps_bytes(const bpf_insn& insn) {
  const Opcode& op = vm::opcode(insn);
  return op.kind == Kind::byte_swap && (op.width == 8 || op.source_register);
}

void Translator::byte_swap(const bpf_insn& insn) {
  const Gp& dst = host_register(insn.dst_reg);
  const bool swaps = swaps_bytes(insn);
  switch (insn.imm) {
    case 16:
      if (swaps) a_.rol(dst.r16(), Imm(8));
      a_.movzx(dst.r32(), dst.r16());
      break;
    case 32:
      swaps ? a_.bswap(dst.r32()) : a_.mov(dst.r32(), dst.r32());
      break;
    default:
      if (swaps) a_.bswap(dst.r64());
      break;
  }
}

}  // namespace xnic::jit
