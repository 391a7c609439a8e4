#pragma once

#include "vm/helper.h"
#include "vm/verifier/environment.h"

// Iterators that a program keeps on its stack and goes through itself: bpf_for, bpf_repeat. As in
// Linux a loop over one is followed until its turns are alike, with numbers that change from turn
// to turn and that no check relies on taken for unknown.
namespace xnic::vm::verifier {

// What a call does with the iterator in a slot of a frame.
struct IteratorUse {
  enum class Kind : uint8_t { begin, next, end };
  Kind kind = Kind::begin;
  uint32_t frame = 0;
  uint32_t slot = 0;
};

// That register `number` holds what the row asks for: a place for an iterator, or one that has
// begun.
Verdict require_iterator(Environment& env, uint32_t number, const Helper& row, IteratorUse& use);
// What the call does, once r0 is set. Of a next value there are two ways to go on: this path is the
// one behind the last value, the other is followed later.
void apply_iterator(Environment& env, const IteratorUse& use);

// Whether the iterator that the present call asks has not given its last value yet.
bool has_active_iterator(const State& now);
// Whether an iterator has given more values than in the older state.
bool has_moved_iterator(const State& old, const State& now);

}  // namespace xnic::vm::verifier
