#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "vm/program.h"

// Exceptions: bpf_throw() ends all functions of a program at once, whatever helper called them.
// Then the program's exception callback, a function that a declaration tag of its main function
// names, says what the program returns; without one it is the number that was thrown.
namespace xnic::vm {

// The first instruction of the exception callback; 0 where the program has none. Else a sentence on
// what is wrong with the one that it names.
tl::expected<uint32_t, std::string> exception_callback(const ProgramSpec& spec);

// Whether the instruction is a call of bpf_throw().
bool is_throw(const bpf_insn& insn);

}  // namespace xnic::vm
