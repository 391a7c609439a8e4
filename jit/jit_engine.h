#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "vm/interpreter.h"
#include "vm/program.h"

namespace xnic::jit {

// Owns the executable memory; defined where asmjit is known.
class Runtime;

struct JitOptions {
  // Whether runs add up Invocation::instructions and end at vm::kRunLimit, as the interpreter's do.
  // Without, they are faster, and the count stays as it was.
  bool counts = true;
  // Of one program's machine code. The interpreter runs what would be larger.
  uint64_t most_code_bytes = 64 << 20;
};

// Makes x86-64 machine code of every program whose values the verifier followed. What objection()
// has something against, or would be too large, goes to the interpreter. Results are the
// interpreter's. Code may outlive the engine, but not its program. Test: tests/jit/jit_test.cpp.
class JitEngine : public vm::Engine {
 public:
  explicit JitEngine(JitOptions options = {});
  ~JitEngine() override;

  std::string_view name() const override { return "jit"; }
  std::unique_ptr<vm::Code> compile(const vm::Program& program) override;

  // Why compile() leaves the program to the interpreter, a whole sentence; empty if it does not.
  static std::string objection(const vm::Program& program);

 private:
  JitOptions options_;
  std::shared_ptr<Runtime> runtime_;
  vm::Interpreter interpreter_;
};

}  // namespace xnic::jit
