#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// A call of a kernel function: what it requires of r1 to r5, then what it does.
Verdict apply_kfunc_call(Environment& env, const bpf_insn& insn);

}  // namespace xnic::vm::verifier
