#pragma once

#include <memory>
#include <span>

#include "vm/program.h"
#include "vm/rejection.h"
#include "vm/verifier/analysis.h"

namespace xnic::vm::verifier {

// Makes of a finding that refuses the program all that a Rejection says. `options` are those of the
// analysis: its path is followed once more, where it is not too long, to tell what came to be
// where. Test: tests/sim/verify_words_test.cpp.
Rejection explain(const Program& program, Finding& finding, const Options& options);

}  // namespace xnic::vm::verifier
