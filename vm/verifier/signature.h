#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// Global functions are analysed by themselves, for any arguments that their BTF signature permits;
// a call has to give such. What it permits: numbers, the context, and memory of the size of what a
// pointer points to, perhaps NULL unless a tag says "arg:nonnull". Left out: other tags, dynptrs.
// Test: tests/vm/verifier/analysis_test.cpp.

// The registers with which the analysis of the function starts.
Verdict enter_global(Environment& env, uint32_t subprogram, Frame& frame);
// That r1 to r5 at a call are what the function permits.
Verdict require_signature(Environment& env, uint32_t subprogram);

}  // namespace xnic::vm::verifier
