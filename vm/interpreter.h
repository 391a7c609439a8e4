#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "vm/invocation.h"
#include "vm/program.h"

namespace xnic::vm {

// A run that takes a backward jump or a call after this many instructions ends with a Fault:
// nothing yet proves that a program ends. Every engine obeys it.
inline constexpr uint64_t kRunLimit = 1ull << 26;

// The fault of a run past kRunLimit, the same from every engine.
Fault run_limit_fault(const Program& program, uint32_t instruction);

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
