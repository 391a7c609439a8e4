#pragma once

#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// A call of a kernel function that nothing here performs, known by its prototype in the kernel's
// types alone, and by what a table of Linux's flags says of its name.
Verdict apply_foreign_kfunc(Environment& env, uint32_t function_id);

}  // namespace xnic::vm::verifier
