#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <string>

#include "vm/program.h"

namespace xnic::vm {

// The text of the instruction at `index` in the style of the kernel's verifier log, without the
// opcode byte in front: "r0 = *(u32 *)(r1 +4)", "if w1 > 0x5 goto pc+3". Any bytes give a text; an
// opcode that does not exist gives "unknown opcode 0x8f". Test: tests/vm/disassembler_test.cpp.
std::string disassemble(std::span<const bpf_insn> instructions, uint32_t index);

// The same for a verified program, in which addresses of maps are written as "map[NAME]" and
// "map[NAME]+4".
std::string disassemble(const Program& program, uint32_t index);

}  // namespace xnic::vm
