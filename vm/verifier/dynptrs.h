#pragma once

#include "vm/dynptr.h"
#include "vm/helper.h"
#include "vm/verifier/environment.h"

// Dynptrs, which a program keeps in 16 bytes of its stack and hands to functions of the kernel.
// What such a function says where the bytes of a dynptr lie (a slice) goes with the dynptr.
namespace xnic::vm::verifier {

// What a call does with a dynptr: one in slots `slot` and `slot - 1` of a frame, or one behind a
// pointer that permits no change of it.
struct DynptrUse {
  DynptrKind kind = DynptrKind::none;
  uint32_t id = 0;
  uint32_t reference = 0;  // what must be released; 0: nothing
  uint32_t frame = 0;
  uint32_t slot = 0;
};

// That register `number` holds what an argument of this kind asks for.
Verdict require_dynptr(Environment& env, uint32_t number, Argument kind, const Helper& row,
                       DynptrUse& use);
// That none of the bytes of stack that a helper fills belongs to a dynptr.
Verdict require_no_dynptr(Environment& env, uint32_t number, uint32_t size);

void begin_dynptr(Environment& env, const DynptrUse& use);
// Notes that the call ends it, of which release() makes it and its clones unwritten stack.
void note_end(Environment& env, const DynptrUse& use);
// A dynptr is gone, and with it its slices, when anything of it is overwritten: that in this slot,
// if one is there. It owns nothing.
void destroy_dynptr(Environment& env, uint32_t frame, uint32_t slot);

}  // namespace xnic::vm::verifier
