#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "vm/invocation.h"
#include "vm/program.h"

namespace xnic::vm {

// A run that takes a backward jump or a call after this many instructions ends with a Fault:
// nothing yet proves that a program ends. Every engine obeys it.
inline constexpr uint64_t kRunLimit = 1ull << 26;

// The fault of a run at an instruction, in the words of every engine: "program p, instruction 12
// (...): " and what it does.
Fault fault_at(const Program& program, uint32_t instruction, std::string_view what);

// The fault of a run past kRunLimit, the same from every engine.
Fault run_limit_fault(const Program& program, uint32_t instruction);

// Runs a function of the program on behalf of a map entry, as a timer does: r1 is the map, r2 the
// key, r3 the value. Always interpreted, so that no engine need know how.
void run_callback(const Program& program, Invocation& invocation, uint64_t function, Map& map,
                  std::span<const uint8_t> key, uint8_t* value);

// The gold standard: runs verified programs instruction by instruction and checks every memory
// access against what the program may touch (its stack frames, the packet, the context, map
// values it looked up or addresses directly); a bad one ends the run with a Fault.
// The program must outlive its Code. Code may run on several threads at once.
class Interpreter : public Engine {
 public:
  std::string_view name() const override { return "interpreter"; }
  std::unique_ptr<Code> compile(const Program& program) override;
};

}  // namespace xnic::vm
