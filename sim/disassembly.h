#pragma once

#include <string>

#include "jit/jit_engine.h"
#include "sim/json.h"
#include "sim/object_listing.h"
#include "vm/result.h"

// The instructions of programs as text and as JSON. Test: tests/sim/disassembly_test.cpp.
namespace xnic::sim {

// All instructions, one a line, with the source line in front where BTF has it:
//   ; counters[0]++                              firewall.bpf.c:31
//     12: r1 = map[counters]
std::string disassembly(const ListedProgram& program);

// The same with the machine code beside each instruction, or beside several that became one:
//     12: r1 = map[counters]                 3a  48 b8 00 ..     mov rax, 0x7f..
// Errors: as jit::list_code() has them; the object does not load (program_rejected).
Result<std::string> disassembly_beside_code(const ListedProgram& program,
                                            const jit::JitOptions& options);

// {"instructions": [{"index", "text", "source": {"text", "file", "line"}}]}
Json disassembly_json(const ListedProgram& program);
// A list of {"instructions": [...], "code": [{"offset", "bytes", "text"}]}; same errors.
Result<Json> code_json(const ListedProgram& program, const jit::JitOptions& options);

}  // namespace xnic::sim
