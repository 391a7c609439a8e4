#pragma once

#include "vm/verifier/environment.h"

// What an instruction requires of the state before it. Nothing here changes what is known, but for
// marks of precision. What instructions do is in vm/verifier/effects.h.
namespace xnic::vm::verifier {

enum class Direction : uint8_t { read, write };

// A register's own state, named as an operand.
Verdict require_initialised(const Environment& env, uint32_t number);
// That the pointer has the offset that it was given with.
Verdict require_unmodified(const Register& r, uint32_t number);

// That `size` bytes at `offset` from the pointer in register `base` may be accessed by the program.
Verdict require_access(Environment& env, uint32_t base, int32_t offset, uint32_t size,
                       Direction direction, bool strict_alignment = false);
// The same by a helper, for the bytes from the pointer on; `may_be_empty` permits size 0.
// `packet` says whether the helper may be given packet pointers at all.
Verdict require_helper_access(Environment& env, uint32_t base, uint32_t size, Direction direction,
                              bool may_be_empty);
Verdict require_alignment(const Environment& env, const Register& r, int32_t offset, uint32_t size,
                          bool strict);
// That the bytes lie within the frame that register `base` points into.
Verdict require_within_stack(const Environment& env, uint32_t base, int32_t offset, uint32_t size,
                             bool by_helper);

// That a pointer stays within reach: what moves it, and where it stands (`moved_by` is the
// pointer).
Verdict require_sane_offset(const Register& pointer, const Register& moved_by);

// What each kind of instruction requires of its operands, all but calls.
Verdict require_operands(Environment& env, const bpf_insn& insn);

// That nothing acquired is left when a path, or a callback, ends.
Verdict require_nothing_acquired(const Environment& env, std::string_view what);
// And no lock, no section.
Verdict require_nothing_held(const Environment& env, std::string_view what);

}  // namespace xnic::vm::verifier
