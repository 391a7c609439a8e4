#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// A number that some check relied on is marked precise, and with it, back along the path in every
// checkpoint, the numbers that it was made from. A later state may then pass for a checkpoint's
// only if its numbers lie within the precise ones; all others may be anything.
// Test: tests/vm/verifier/analysis_test.cpp.

// Register `number` of the innermost frame, before the present instruction.
void mark_precise(Environment& env, uint32_t number);
// A slot of the frame.
void mark_slot_precise(Environment& env, uint32_t frame, uint32_t slot);
// What is precise in `old` becomes so in the path that led to `like_old`, since that path ends
// here. True if something was marked.
bool hand_on_precision(Environment& env, const State& old, State& like_old);
// Every number in the checkpoints that led to the state.
void mark_everything_precise(State& state);

}  // namespace xnic::vm::verifier
