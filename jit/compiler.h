#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <asmjit/x86.h>

#include "jit/run.h"
#include "vm/program.h"
#include "vm/result.h"

namespace xnic::jit {

// Fits every program's main function: r1 is the packet's address.
using Entry = uint64_t (*)(vm::Invocation&, vm::Packet*);

struct Translation {
  bool needs_run = false;           // Invocation::callbacks must be a Run
  std::vector<uint64_t> functions;  // by subprogram: offset of its code; kNoCode where nothing is

  static constexpr uint64_t kNoCode = UINT64_MAX;
};

// Why there can be no machine code of the program; empty if there can.
std::string objection(const vm::Program& program);

// Translates a program that objection() has nothing against. `functions` is what callbacks will go
// by; it has to be filled in once the code has its place. Counted code adds up
// vm::Invocation::instructions and obeys vm::kRunLimit.
Result<Translation> translate(const vm::Program& program, bool counts,
                              const FunctionEntries& functions, asmjit::CodeHolder& code);

// Emits the function of type Enter, and sets `resume` to where a fault goes on in it.
bool emit_enter(asmjit::CodeHolder& code, asmjit::Label& resume);

}  // namespace xnic::jit
