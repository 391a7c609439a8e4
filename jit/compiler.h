#pragma once

#include <cstdint>

#include <asmjit/x86.h>

#include "vm/program.h"

namespace xnic::jit {

// What a run leaves besides r0. The generated code knows the offsets.
struct RunState {
  uint64_t instructions;  // executed
  uint32_t stopped_at;    // the instruction that met vm::kRunLimit
  uint32_t stopped;       // 1 if one did
};

using Entry = uint64_t (*)(const void* context, RunState* state);

// True for programs that emit() can translate: no memory, no calls, no frame pointer.
bool can_compile(const vm::Program& program);

// Translates the program, of which can_compile() is true, to a function of type Entry.
// False if asmjit refuses an instruction, which leaves nothing usable in `code`.
bool emit(const vm::Program& program, asmjit::CodeHolder& code);

}  // namespace xnic::jit
