#pragma once

#include <optional>

#include "vm/verifier/environment.h"

// What an instruction does to the state, once its requirements are met.
namespace xnic::vm::verifier {

// Moves, arithmetic, loads, stores, atomics, ld_imm64. Arithmetic refuses a pointer that it moves
// out of all reach.
Verdict apply_alu(Environment& env, const bpf_insn& insn);
void apply_load(Environment& env, const bpf_insn& insn, bool is_signed);
void apply_store(Environment& env, const bpf_insn& insn);
void apply_atomic(Environment& env, const bpf_insn& insn);
Verdict apply_load_immediate(Environment& env, const bpf_insn& insn);

// The stack: `offset` is from the pointer in register `base`.
// What a read leaves in a register; the requirements of a fill are among those of the read.
Verdict require_fill(Environment& env, uint32_t base, int32_t offset, uint32_t size);
Verdict require_spill(Environment& env, uint32_t base, uint32_t size, uint32_t stored);
// That none of the bytes belongs to an iterator or dynptr.
Verdict require_plain_stack(Environment& env, uint32_t base, int32_t offset, uint32_t size);
// That none belongs to a dynptr that has to be ended first.
Verdict require_overwritable(Environment& env, uint32_t base, int32_t offset, uint32_t size);
// The slot of its frame that a stack pointer points to; none where that is not known.
struct StackPlace {
  uint32_t frame;
  uint32_t slot;
};
std::optional<StackPlace> stack_place_of(const Register& r);
Register read_stack(Environment& env, uint32_t base, int32_t offset, uint32_t size);
// `stored` is the register that is stored, kRegisters for the constant `value`, or nothing known.
struct Stored {
  uint32_t number = kRegisters;
  const Register* value = nullptr;
};
void write_stack(Environment& env, uint32_t base, int32_t offset, uint32_t size, Stored stored);
// Notes it for the proof if any of the bytes were never written: a helper that fails may leave
// them.
void note_unwritten(Environment& env, uint32_t base, uint32_t size);
// Another function reads the bytes and, if `writable`, may leave anything in them.
void lend_stack(Environment& env, uint32_t base, uint32_t size, bool writable);

// Gives a number that is copied an id, by which both can be told to be equal.
void link(Environment& env, Register& r);
// No pointer into the packet is valid any more.
void void_packet_pointers(State& state);
// Everything that was acquired under this id is gone.
void release(State& state, uint32_t reference);

}  // namespace xnic::vm::verifier
