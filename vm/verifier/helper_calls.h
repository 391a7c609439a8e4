#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// A call of a helper: what its row asks of r1 to r5, then what it leaves. A helper that calls back
// puts the call of the callback among the pending paths; the present path goes on behind the call.
// Test: tests/vm/verifier/analysis_test.cpp.
Verdict apply_helper_call(Environment& env, const bpf_insn& insn);
// The same of a row that is known, of a kfunc.
Verdict apply_row(Environment& env, const bpf_insn& insn, const Helper& row);

}  // namespace xnic::vm::verifier
