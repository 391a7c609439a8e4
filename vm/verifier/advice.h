#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vm/program.h"
#include "vm/rejection.h"
#include "vm/verifier/origins.h"

namespace xnic::vm::verifier {

// All that is known of a refusal.
struct Scene {
  const Program& program;
  Category category;
  std::string_view words;  // Linux's
  uint32_t index;          // the instruction that is refused
  const State& state;      // before it
  const Origins& origins;
  std::span<const uint32_t> path;

  const bpf_insn& insn() const { return program.instructions()[index]; }
  // "fw.c:34:7" of an instruction.
  std::string where(uint32_t instruction) const;
};

// The refusal in plain words, and what to do about it.
struct Advice {
  std::string reason;
  std::string suggestion;
};

// Nothing where no common mistake is recognised. Test: tests/sim/verify_words_test.cpp.
std::optional<Advice> advice_for(const Scene& scene);

}  // namespace xnic::vm::verifier
