// Loads, stores and atomics of the code generator. Addresses are host addresses and the verifier
// has said that they are good, so an access is one x86 instruction. Of the context, what the Packet
// holds as the program sees it is read in place (jit/context_fields.h), the rest by a call.
// Test: tests/jit, tests/differential.
#include "jit/context_fields.h"
#include "jit/translator.h"

namespace xnic::jit {

using asmjit::Imm;
using vm::Kind;
using vm::Opcode;

namespace {

// What a C function may overwrite of r0 to r5.
constexpr uint32_t kUnsaved[] = {0, 1, 2, 3, 4, 5};

}  // namespace

void Translator::load_memory(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  const Gp& to = host_register(insn.dst_reg);
  const Gp& base = host_register(insn.src_reg);
  if (op.kind == Kind::load) return a_.load(to, base, insn.off, op.width);
  const x86::Mem from(base, insn.off, op.width);
  if (op.width == 4) {
    a_.movsxd(to, from);
  } else {
    a_.movsx(to, from);
  }
}

// A load and the exchange of its bytes: one movbe, where the CPU has it.
bool Translator::swapped_load(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const bpf_insn& next = insns_[index + 1];
  if (vm::opcode(next).kind != Kind::byte_swap || !movbe_ || !only_follows(index + 1)) return false;
  const uint8_t width = vm::opcode(insn).width;
  const bool swaps_all =
      width >= 4 && swaps_bytes(next) && next.imm == 8 * width && next.dst_reg == insn.dst_reg;
  if (!swaps_all) return false;
  a_.movbe(sized(host_register(insn.dst_reg), width),
           x86::Mem(host_register(insn.src_reg), insn.off, width));
  return true;
}

// Its low bytes, into a place of `size`.
void Translator::store(const bpf_insn& insn, const Gp& base, int32_t offset, uint32_t size) {
  const Opcode& op = vm::opcode(insn);
  if (op.kind == Kind::store_immediate) {
    a_.mov(x86::Mem(base, offset, size), Imm(op.width == 1   ? static_cast<int8_t>(insn.imm)
                                             : op.width == 2 ? static_cast<int16_t>(insn.imm)
                                                             : insn.imm));
  } else {
    a_.store(base, offset, host_register(insn.src_reg), size);
  }
}

void Translator::store_memory(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  store(insn, host_register(insn.dst_reg), insn.off, vm::opcode(insn).width);
}

void Translator::save_arguments() {
  for (const uint32_t number : kUnsaved) a_.push(host_register(number));
}

void Translator::restore_arguments() {
  for (size_t i = std::size(kUnsaved); i-- > 0;) a_.pop(host_register(kUnsaved[i]));
}

bool Translator::asks_program_type(uint32_t index) const {
  const Opcode& op = vm::opcode(insns_[index]);
  const bool stores = op.kind == Kind::store || op.kind == Kind::store_immediate;
  const auto field =
      plain_field(program_.type(), static_cast<uint32_t>(insns_[index].off), op.width);
  return !field || (stores && !field->writable);
}

void Translator::load_context(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  const Gp& to = host_register(insn.dst_reg);
  const Gp& base = host_register(insn.src_reg);
  const auto offset = static_cast<uint32_t>(insn.off);
  if (const auto field = plain_field(program_.type(), offset, op.width)) {
    a_.load(to, base, field->offset, field->size);
  } else {
    save_arguments();
    a_.mov(x86::rdi, base);
    load_address(x86::rsi, &type_);
    a_.mov(x86::edx, Imm(offset | uint32_t{op.width} << 16));
    call_c(jit::load_context);
    a_.mov(kScratch1, x86::rax);
    restore_arguments();
    a_.mov(to, kScratch1);
  }
  if (op.kind == Kind::load_signed) {
    op.width == 4   ? a_.movsxd(to, to.r32())
    : op.width == 2 ? a_.movsx(to, to.r16())
                    : a_.movsx(to, to.r8());
  }
}

void Translator::store_context(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  const Opcode& op = vm::opcode(insn);
  const Gp& base = host_register(insn.dst_reg);
  const auto offset = static_cast<uint32_t>(insn.off);
  const auto field = plain_field(program_.type(), offset, op.width);
  if (field && field->writable) {
    store(insn, base, field->offset, field->size);
    return;
  }
  // As the width has it: what a narrow store leaves out must not show.
  const uint64_t mask = op.width == 8 ? UINT64_MAX : (uint64_t{1} << (8 * op.width)) - 1;
  save_arguments();
  a_.mov(x86::rdi, base);
  if (op.kind == Kind::store_immediate) {
    load_constant(kScratch1, static_cast<uint64_t>(int64_t{insn.imm}) & mask);
  } else if (op.width >= 4) {
    a_.mov(sized(kScratch1, op.width), sized(host_register(insn.src_reg), op.width));
  } else {
    const Gp& src = host_register(insn.src_reg);
    a_.movzx(kScratch1.r32(), sized(src, op.width));
  }
  load_address(x86::rsi, &type_);
  a_.mov(x86::edx, Imm(offset | uint32_t{op.width} << 16));
  a_.mov(x86::rcx, kScratch1);
  call_c(jit::store_context);
  restore_arguments();
}

void Translator::load_packet(uint32_t index) {
  const bpf_insn& insn = insns_[index];
  a_.mov(x86::rdi, x86::qword_ptr(kInvocation, layout_.packet));
  // r2 may be the offset, and goes where it is already.
  if (vm::opcode(insn).source_register) a_.mov(x86::rdx, host_register(insn.src_reg));
  load_address(x86::rsi, &insn);
  call_c(jit::load_packet);
  a_.test(x86::rdx, x86::rdx);
  const Label loaded = a_.new_label();
  a_.jnz(loaded);
  leave_frame();
  a_.ret();
  a_.mark(loaded);
}

void Translator::atomic(const bpf_insn& insn, uint32_t width) {
  const bool loads = insn.imm == vm::kLoadAcquire;
  const Gp& base = host_register(loads ? insn.src_reg : insn.dst_reg);
  const x86::Mem at(base, insn.off, width);
  const Gp& src = host_register(insn.src_reg);
  const Gp operand = sized(src, width);
  // x86 orders loads and stores as acquire and release ask.
  if (loads) return a_.load(host_register(insn.dst_reg), base, insn.off, width);
  switch (insn.imm) {
    case vm::kStoreRelease:
      a_.mov(at, operand);
      break;
    case BPF_ADD:
      a_.lock().add(at, operand);
      break;
    case BPF_OR:
      a_.lock().or_(at, operand);
      break;
    case BPF_AND:
      a_.lock().and_(at, operand);
      break;
    case BPF_XOR:
      a_.lock().xor_(at, operand);
      break;
    case BPF_ADD | vm::kAtomicFetch:
      a_.lock().xadd(at, operand);
      break;
    case vm::kAtomicExchange:
      a_.xchg(at, operand);
      break;
    case vm::kAtomicCompareExchange:
      a_.lock().cmpxchg(at, operand);
      // Where nothing is loaded, x86 leaves the upper half alone.
      if (width == 4) a_.mov(x86::eax, x86::eax);
      break;
    default:
      fetch_in_loop(insn, width, at);
      break;
  }
}

// x86 has no or, and, xor that give what was there before.
void Translator::fetch_in_loop(const bpf_insn& insn, uint32_t width, const x86::Mem& at) {
  const Gp& src = host_register(insn.src_reg);
  const Gp before = sized(x86::rax, width);
  const Gp after = sized(kScratch0, width);
  x86::Mem there = x86::ptr(kScratch2);
  there.setSize(width);
  a_.lea(kScratch2, at);
  a_.mov(kScratch1, x86::rax);
  a_.mov(before, there);
  const Label again = a_.new_label();
  a_.mark(again);
  a_.mov(after, before);
  const Gp operand = sized(src == x86::rax ? kScratch1 : src, width);
  switch (insn.imm & ~vm::kAtomicFetch) {
    case BPF_OR:
      a_.or_(after, operand);
      break;
    case BPF_AND:
      a_.and_(after, operand);
      break;
    default:
      a_.xor_(after, operand);
      break;
  }
  a_.lock().cmpxchg(there, after);
  a_.jne(again);
  if (width == 4) a_.mov(x86::eax, x86::eax);
  if (src == x86::rax) return;
  a_.mov(src, x86::rax);
  a_.mov(x86::rax, kScratch1);
}

}  // namespace xnic::jit
