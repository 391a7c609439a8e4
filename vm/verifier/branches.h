#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// A conditional jump: decides it, or follows both ways, each knowing its condition. Sets where this
// path goes on. Test: tests/vm/verifier/analysis_test.cpp.
Verdict apply_jump_if(Environment& env, const bpf_insn& insn, uint32_t& next);

}  // namespace xnic::vm::verifier
