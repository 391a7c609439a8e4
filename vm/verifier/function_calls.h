#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// Calls of the program's own functions: static ones are followed into, global ones are analysed by
// themselves and taken by their signature. Sets where the path goes on.
Verdict apply_function_call(Environment& env, const bpf_insn& insn, uint32_t& next);
// Puts the call of a callback by the helper at the present instruction among the pending paths.
Verdict push_callback(Environment& env, const bpf_insn& insn, uint32_t subprogram);
// The end of a function. `done` if it was the outermost, and its path has ended.
Verdict apply_exit(Environment& env, uint32_t& next, bool& done);
// The same where bpf_throw ends all functions.
Verdict apply_throw(Environment& env);
// The same for a legacy packet load in a function, which may end it with r0 = 0.
Verdict apply_early_exit(Environment& env);
// The same for bpf_tail_call in a function: where it succeeds, the other program ends the function,
// with any r0, and may have changed the packet.
Verdict apply_tail_call_return(Environment& env, uint32_t& next);

// The state at the start of the main program or of a global function.
Verdict enter_outermost(Environment& env, uint32_t subprogram, State& state);

// After all: stacks along the call graph, and the rules for tail calls.
Verdict require_stack_depths(const Environment& env);

}  // namespace xnic::vm::verifier
