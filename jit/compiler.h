#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <asmjit/x86.h>

#include "jit/jit_engine.h"
#include "jit/run.h"
#include "vm/program.h"
#include "vm/result.h"

namespace xnic::jit {

struct Translation {
  bool needs_run = false;  // Invocation::callbacks must be a Run
  bool tail_calls = false;
  uint64_t entry = 0;               // offset of where other programs' tail calls go on
  std::vector<uint64_t> functions;  // by subprogram: offset of its code; kNoCode where nothing is

  static constexpr uint64_t kNoCode = UINT64_MAX;
};

// A piece of machine code and the instructions that it stands for.
struct CodePart {
  uint32_t first;   // instruction slot
  uint32_t end;     // behind the last; `first` itself for what begins or ends a function
  uint64_t offset;  // bytes; up to where the next part begins
};

// Why there can be no machine code of the program; empty if there can.
std::string objection(const vm::Program& program);

// Translates a program that objection() has nothing against. `functions` is what callbacks will go
// by; it has to be filled in once the code has its place. `parts`, if not null, gets the parts of
// the code in order. Error (program_rejected): the code is larger than the options allow.
Result<Translation> translate(const vm::Program& program, const JitOptions& options,
                              const FunctionEntries& functions, asmjit::CodeHolder& code,
                              std::vector<CodePart>* parts = nullptr);

// Emits the function of type Enter, and sets `resume` to where a fault goes on in it.
bool emit_enter(asmjit::CodeHolder& code, asmjit::Label& resume);

}  // namespace xnic::jit
