#pragma once

#include <memory>
#include <string_view>

#include "vm/interpreter.h"
#include "vm/program.h"

namespace xnic::jit {

// Owns the executable memory; defined where asmjit is known.
class Runtime;

// Compiles programs made of arithmetic, jumps and exit to x86-64 machine code, and hands every
// other program back to the interpreter. Results, instruction counts and the fault of a run past
// vm::kRunLimit are the interpreter's. Code may outlive the engine, but not its program.
// Test: tests/jit/jit_test.cpp.
class JitEngine : public vm::Engine {
 public:
  JitEngine();
  ~JitEngine() override;

  std::string_view name() const override { return "jit"; }
  std::unique_ptr<vm::Code> compile(const vm::Program& program) override;

  // True if compile() makes machine code of the program.
  static bool compiles(const vm::Program& program);

 private:
  std::shared_ptr<Runtime> runtime_;
  vm::Interpreter interpreter_;
};

}  // namespace xnic::jit
