#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// How alike two states must be.
enum class Likeness : uint8_t {
  enough,  // what was safe from the old one is safe from the new one
  within,  // the same, taking all of the old one as if it were read and precise
  exact,
};

// Whether a path with `now` needs no look because one with `old` got through, both at the same
// instruction. Test: tests/vm/verifier/soundness_test.cpp, and the comparison of
// instruction counts with Linux in tests/verdicts.
bool is_like(Environment& env, const State& old, const State& now, Likeness likeness);

// Numbers that no check has relied on and that change from turn to turn of a loop may be anything
// from now on, so that its turns become alike. `before` is the state of an earlier turn.
void widen(const State& before, State& now);

}  // namespace xnic::vm::verifier
