#pragma once

#include <linux/bpf.h>

#include <optional>
#include <string>

namespace xnic::vm {

struct Objection {
  int error;  // an errno
  std::string words;
};

// What is wrong with one instruction by itself: its opcode, registers, reserved fields,
// immediates; none if nothing is. The fields of calls and of ld_imm64 mean something only inside a
// program, so vm/verifier.h looks at these. Errors and words as Linux has them.
// Test: tests/vm/verifier_test.cpp.
std::optional<Objection> objection_to_form(const bpf_insn& insn);

}  // namespace xnic::vm
