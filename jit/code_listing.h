#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jit/jit_engine.h"
#include "vm/result.h"

namespace xnic::jit {

// One instruction of this machine.
struct HostInstruction {
  uint64_t offset;   // in CodeListing::bytes
  uint32_t size;     // bytes
  std::string text;  // in Intel's syntax
};

// Machine code and the eBPF instructions that it stands for: [first, end) of the program's slots.
// Of none for what a function begins with, and what it keeps behind its end.
struct ListedCode {
  uint32_t first;
  uint32_t end;
  std::vector<HostInstruction> code;
};

// The machine code that an engine with these options makes of a program.
struct CodeListing {
  std::vector<uint8_t> bytes;
  std::vector<ListedCode> parts;  // in order; they cover the bytes. What nothing reaches is in none
};

// Errors: the engine leaves the program to the interpreter (program_rejected); this build has no
// disassembler of x86 (not_available).
Result<CodeListing> list_code(const vm::Program& program, const JitOptions& options);

}  // namespace xnic::jit
