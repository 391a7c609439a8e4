// The code generator: one pass with asmjit's Assembler, eBPF registers mapped one to one onto
// x86-64 ones (those of the kernel's own JIT), instruction counts added once for each basic block.
// It leaves out memory, calls and the frame pointer: such programs stay with the interpreter.
// Test: tests/jit/jit_test.cpp, against the interpreter.
#include "jit/compiler.h"

#include <array>
#include <cstddef>
#include <vector>

#include "vm/interpreter.h"
#include "vm/isa.h"

namespace xnic::jit {
namespace {

using asmjit::Imm;
using asmjit::Label;
using asmjit::x86::Gp;
using vm::Kind;
using vm::Opcode;
namespace x86 = asmjit::x86;

constexpr uint32_t kFramePointer = 10;

const Gp& host_register(uint32_t number) {
  static const std::array<Gp, 10> kMap = {x86::rax, x86::rdi, x86::rsi, x86::rdx, x86::rcx,
                                          x86::r8,  x86::rbx, x86::r13, x86::r14, x86::r15};
  return kMap[number];
}

// Not eBPF registers: three scratch, the instruction count, the RunState.
const Gp& scratch0() { return x86::r9; }
const Gp& scratch1() { return x86::r10; }
const Gp& scratch2() { return x86::r11; }
const Gp& count() { return x86::r12; }
const Gp& state() { return x86::rbp; }

Gp sized(const Gp& reg, uint8_t width) {
  if (width == 8) return reg.r64();
  return reg.r32();
}

class Refusals : public asmjit::ErrorHandler {
 public:
  void handleError(asmjit::Error, const char*, asmjit::BaseEmitter*) override { any = true; }
  bool any = false;
};

class Compiler {
 public:
  Compiler(const vm::Program& program, asmjit::CodeHolder& code)
      : insns_(program.instructions()), a_(&code) {
    a_.setErrorHandler(&refusals_);
  }

  bool run() {
    find_blocks();
    prologue();
    for (uint32_t i = 0; i < insns_.size(); i += vm::slots(insns_[i])) {
      if (labels_[i].isValid()) {
        a_.bind(labels_[i]);
        a_.add(count(), Imm(block_length(i)));
      }
      instruction(i);
    }
    back_edges();
    epilogue();
    return !refusals_.any;
  }

 private:
  struct BackEdge {
    Label stub;
    uint32_t from;
    uint32_t to;
  };

  uint32_t target(uint32_t index) const {
    return static_cast<uint32_t>(int64_t{index} + 1 + vm::jump_distance(insns_[index]));
  }

  void find_blocks();
  uint32_t block_length(uint32_t start) const;
  void prologue();
  void epilogue();
  void back_edges();
  void check_limit(uint32_t index);
  void instruction(uint32_t index);
  void alu(const bpf_insn& insn, const Opcode& op);
  void divide(const bpf_insn& insn, const Opcode& op);
  void shift(const bpf_insn& insn, const Opcode& op);
  void move(const bpf_insn& insn, const Opcode& op);
  void byte_swap(const bpf_insn& insn, const Opcode& op);
  void jump_if(uint32_t index, const Opcode& op);

  std::span<const bpf_insn> insns_;
  Refusals refusals_;
  x86::Assembler a_;
  std::vector<Label> labels_;  // valid where a basic block starts
  std::vector<BackEdge> back_edges_;
  Label limit_;
  Label exit_;
};

void Compiler::find_blocks() {
  labels_.resize(insns_.size());
  const auto start_block = [this](uint32_t index) {
    if (index < labels_.size() && !labels_[index].isValid()) labels_[index] = a_.newLabel();
  };
  start_block(0);
  for (uint32_t i = 0; i < insns_.size(); i += vm::slots(insns_[i])) {
    const Kind kind = vm::opcode(insns_[i]).kind;
    if (kind == Kind::jump || kind == Kind::jump_if) start_block(target(i));
    if (kind == Kind::jump || kind == Kind::jump_if || kind == Kind::exit) start_block(i + 1);
  }
  limit_ = a_.newLabel();
  exit_ = a_.newLabel();
}

uint32_t Compiler::block_length(uint32_t start) const {
  uint32_t length = 0;
  uint32_t at = start;
  do {
    ++length;
    at += vm::slots(insns_[at]);
  } while (at < insns_.size() && !labels_[at].isValid());
  return length;
}

void Compiler::prologue() {
  for (const Gp& saved : {x86::rbp, x86::rbx, x86::r12, x86::r13, x86::r14, x86::r15}) {
    a_.push(saved);
  }
  a_.mov(state(), x86::rsi);
  a_.xor_(count().r32(), count().r32());
  for (uint32_t number = 0; number < kFramePointer; ++number) {
    const Gp reg = host_register(number).r32();
    if (number != 1) a_.xor_(reg, reg);
  }
}

void Compiler::epilogue() {
  a_.bind(limit_);
  a_.mov(x86::dword_ptr(state(), offsetof(RunState, stopped_at)), scratch1().r32());
  a_.mov(x86::dword_ptr(state(), offsetof(RunState, stopped)), Imm(1));
  a_.bind(exit_);
  a_.mov(x86::qword_ptr(state(), offsetof(RunState, instructions)), count());
  for (const Gp& saved : {x86::r15, x86::r14, x86::r13, x86::r12, x86::rbx, x86::rbp}) {
    a_.pop(saved);
  }
  a_.ret();
}

// Ends the run, blaming the instruction, if the count has passed the limit.
void Compiler::check_limit(uint32_t index) {
  a_.mov(scratch1().r32(), Imm(index));
  a_.cmp(count(), Imm(vm::kRunLimit));
  a_.ja(limit_);
}

void Compiler::back_edges() {
  for (const BackEdge& edge : back_edges_) {
    a_.bind(edge.stub);
    check_limit(edge.from);
    a_.jmp(labels_[edge.to]);
  }
}

void Compiler::instruction(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  switch (op.kind) {
    case Kind::alu:
      alu(insn, op);
      break;
    case Kind::negate:
      a_.neg(sized(host_register(insn.dst_reg), op.width));
      break;
    case Kind::byte_swap:
      byte_swap(insn, op);
      break;
    case Kind::load_immediate:
      a_.mov(host_register(insn.dst_reg), Imm(vm::immediate64(insn, insns_[index + 1])));
      break;
    case Kind::jump:
      if (target(index) <= index) check_limit(index);
      a_.jmp(labels_[target(index)]);
      break;
    case Kind::jump_if:
      jump_if(index, op);
      break;
    default:  // exit: can_compile() lets nothing else through
      a_.jmp(exit_);
      break;
  }
}

void Compiler::alu(const bpf_insn& insn, const Opcode& op) {
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  const auto either = [&](auto&& from_register, auto&& from_immediate) {
    if (op.source_register) {
      from_register(sized(host_register(insn.src_reg), op.width));
    } else {
      from_immediate(Imm(insn.imm));
    }
  };
  switch (op.operation) {
    case BPF_ADD:
      return either([&](const Gp& b) { a_.add(dst, b); }, [&](Imm b) { a_.add(dst, b); });
    case BPF_SUB:
      return either([&](const Gp& b) { a_.sub(dst, b); }, [&](Imm b) { a_.sub(dst, b); });
    case BPF_MUL:
      return either([&](const Gp& b) { a_.imul(dst, b); }, [&](Imm b) { a_.imul(dst, dst, b); });
    case BPF_OR:
      return either([&](const Gp& b) { a_.or_(dst, b); }, [&](Imm b) { a_.or_(dst, b); });
    case BPF_AND:
      return either([&](const Gp& b) { a_.and_(dst, b); }, [&](Imm b) { a_.and_(dst, b); });
    case BPF_XOR:
      return either([&](const Gp& b) { a_.xor_(dst, b); }, [&](Imm b) { a_.xor_(dst, b); });
    case BPF_DIV:
    case BPF_MOD:
      return divide(insn, op);
    case BPF_MOV:
      return move(insn, op);
    default:
      return shift(insn, op);
  }
}

// x86 divides rdx:rax and traps where eBPF has an answer: a zero divisor and the overflow of
// INT_MIN / -1 never reach the instruction.
void Compiler::divide(const bpf_insn& insn, const Opcode& op) {
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  const Gp divisor = sized(scratch2(), op.width);
  const Gp rax = sized(x86::rax, op.width);
  const Gp rdx = sized(x86::rdx, op.width);
  const bool quotient = op.operation == BPF_DIV;
  const bool is_signed = insn.off == 1;
  const Label by_zero = a_.newLabel();
  const Label by_minus_one = a_.newLabel();
  const Label done = a_.newLabel();

  if (op.source_register) {
    a_.mov(divisor, sized(host_register(insn.src_reg), op.width));
  } else {
    a_.mov(divisor, Imm(insn.imm));
  }
  a_.test(divisor, divisor);
  a_.jz(by_zero);
  if (is_signed) {
    a_.cmp(divisor, Imm(-1));
    a_.je(by_minus_one);
  }
  a_.mov(scratch0(), x86::rax);
  a_.mov(scratch1(), x86::rdx);
  a_.mov(rax, dst);
  if (is_signed) {
    op.width == 8 ? a_.cqo() : a_.cdq();
    a_.idiv(divisor);
  } else {
    a_.xor_(x86::edx, x86::edx);
    a_.div(divisor);
  }
  a_.mov(divisor, quotient ? rax : rdx);
  a_.mov(x86::rax, scratch0());
  a_.mov(x86::rdx, scratch1());
  a_.mov(dst, divisor);
  a_.jmp(done);

  a_.bind(by_zero);
  if (quotient) {
    a_.xor_(dst, dst);
  } else {
    a_.mov(dst, dst);
  }
  if (is_signed) {
    a_.jmp(done);
    a_.bind(by_minus_one);
    quotient ? a_.neg(dst) : a_.xor_(dst, dst);
  }
  a_.bind(done);
}

void Compiler::shift(const bpf_insn& insn, const Opcode& op) {
  const auto apply = [&](const Gp& reg, const asmjit::Operand& by) {
    const auto id = op.operation == BPF_LSH   ? x86::Inst::kIdShl
                    : op.operation == BPF_RSH ? x86::Inst::kIdShr
                                              : x86::Inst::kIdSar;
    a_.emit(id, sized(reg, op.width), by);
  };
  const Gp& dst = host_register(insn.dst_reg);
  if (!op.source_register) return apply(dst, Imm(insn.imm));
  // A variable count must be in cl, which is part of r4.
  const Gp& src = host_register(insn.src_reg);
  if (src == x86::rcx) return apply(dst, x86::cl);
  if (dst == x86::rcx) {
    a_.mov(scratch2(), dst);
    a_.mov(x86::rcx, src);
    apply(scratch2(), x86::cl);
    a_.mov(x86::rcx, scratch2());
    return;
  }
  a_.mov(scratch2(), x86::rcx);
  a_.mov(x86::rcx, src);
  apply(dst, x86::cl);
  a_.mov(x86::rcx, scratch2());
}

void Compiler::move(const bpf_insn& insn, const Opcode& op) {
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  if (!op.source_register) {
    a_.mov(dst, Imm(insn.imm));
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
      a_.mov(dst, sized(src, op.width));
      break;
  }
}

void Compiler::byte_swap(const bpf_insn& insn, const Opcode& op) {
  const Gp& dst = host_register(insn.dst_reg);
  // The 64-bit class always swaps; the 32-bit class does where its source bit says big endian,
  // since the host is little endian.
  const bool swaps = op.width == 8 || op.source_register;
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

void Compiler::jump_if(uint32_t index, const Opcode& op) {
  const bpf_insn& insn = insns_[index];
  const Gp dst = sized(host_register(insn.dst_reg), op.width);
  const asmjit::Operand second =
      op.source_register
          ? static_cast<asmjit::Operand>(sized(host_register(insn.src_reg), op.width))
          : static_cast<asmjit::Operand>(Imm(insn.imm));
  a_.emit(op.operation == BPF_JSET ? x86::Inst::kIdTest : x86::Inst::kIdCmp, dst, second);

  Label label = labels_[target(index)];
  if (target(index) <= index) {
    label = a_.newLabel();
    back_edges_.push_back({label, index, target(index)});
  }
  switch (op.operation) {
    case BPF_JEQ:
      a_.je(label);
      break;
    case BPF_JNE:
    case BPF_JSET:
      a_.jne(label);
      break;
    case BPF_JGT:
      a_.ja(label);
      break;
    case BPF_JGE:
      a_.jae(label);
      break;
    case BPF_JLT:
      a_.jb(label);
      break;
    case BPF_JLE:
      a_.jbe(label);
      break;
    case BPF_JSGT:
      a_.jg(label);
      break;
    case BPF_JSGE:
      a_.jge(label);
      break;
    case BPF_JSLT:
      a_.jl(label);
      break;
    default:
      a_.jle(label);
      break;
  }
}

bool uses_frame_pointer(const bpf_insn& insn) {
  return insn.dst_reg == kFramePointer || insn.src_reg == kFramePointer;
}

}  // namespace

bool can_compile(const vm::Program& program) {
  const std::span<const bpf_insn> insns = program.instructions();
  for (size_t i = 0; i < insns.size(); i += vm::slots(insns[i])) {
    if (uses_frame_pointer(insns[i])) return false;
    switch (vm::opcode(insns[i]).kind) {
      case Kind::alu:
      case Kind::negate:
      case Kind::byte_swap:
      case Kind::jump:
      case Kind::jump_if:
      case Kind::exit:
        break;
      case Kind::load_immediate:
        if (insns[i].src_reg != 0) return false;
        break;
      default:
        return false;
    }
  }
  return true;
}

bool emit(const vm::Program& program, asmjit::CodeHolder& code) {
  return Compiler(program, code).run();
}

}  // namespace xnic::jit
