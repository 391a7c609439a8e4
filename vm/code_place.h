#pragma once

#include <cstdint>
#include <string>

#include "vm/program.h"

namespace xnic::vm {

// Where in a program something is, for people: the instruction, and the line of the source that it
// was made of where BTF line info says one.
struct CodePlace {
  uint32_t instruction = 0;
  std::string disassembly;
  std::string file;     // as the compiler was given it; empty without line info
  uint32_t line = 0;    // from 1 on
  uint32_t column = 0;  // from 1 on, 0 where it is not known
  std::string text;     // of the line, blanks around it left out and runs of them made one

  bool has_line() const { return line != 0; }
};

// Instructions that the compiler made without a line of their own belong to the line before them in
// the same function. Any index gives a place. Test: tests/vm/rejection_test.cpp.
CodePlace place_of(const ProgramSpec& spec, uint32_t index, std::string disassembly);
CodePlace place_of(const Program& program, uint32_t index);

// "fw.c:34:7", or "instruction 12" without a line. The file's name stands without its folders.
std::string short_place(const CodePlace& place);
// The source line, or the disassembly without one.
const std::string& text_of(const CodePlace& place);

}  // namespace xnic::vm
