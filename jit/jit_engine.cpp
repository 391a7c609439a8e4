// The JIT as an engine: decides which programs are translated (jit/compiler.cpp) and keeps their
// machine code. Code is written through one mapping and run through another, so that no page is
// writable and executable at once. Test: tests/jit/jit_test.cpp.
#include "jit/jit_engine.h"

#include "jit/compiler.h"
#include "vm/invocation.h"

namespace xnic::jit {

class Runtime {
 public:
  Runtime() : asmjit(&kParameters) {}
  asmjit::JitRuntime asmjit;

 private:
  static constexpr asmjit::JitAllocator::CreateParams kParameters = {
      asmjit::JitAllocatorOptions::kUseDualMapping};
};

namespace {

class MachineCode : public vm::Code {
 public:
  MachineCode(std::shared_ptr<Runtime> runtime, Entry entry, const vm::Program& program)
      : runtime_(std::move(runtime)), entry_(entry), program_(program) {}
  ~MachineCode() override { runtime_->asmjit.release(entry_); }

  uint64_t run(vm::Invocation& invocation) const override {
    RunState state{};
    const uint64_t r0 = entry_(&invocation.packet, &state);
    invocation.instructions += state.instructions;
    if (state.stopped != 0) invocation.fault = vm::run_limit_fault(program_, state.stopped_at);
    return r0;
  }

 private:
  std::shared_ptr<Runtime> runtime_;
  Entry entry_;
  const vm::Program& program_;
};

}  // namespace

JitEngine::JitEngine() : runtime_(std::make_shared<Runtime>()) {}
JitEngine::~JitEngine() = default;

bool JitEngine::compiles(const vm::Program& program) { return can_compile(program); }

std::unique_ptr<vm::Code> JitEngine::compile(const vm::Program& program) {
  if (!can_compile(program)) return interpreter_.compile(program);
  asmjit::CodeHolder code;
  Entry entry = nullptr;
  if (code.init(runtime_->asmjit.environment()) != asmjit::kErrorOk || !emit(program, code) ||
      runtime_->asmjit.add(&entry, &code) != asmjit::kErrorOk) {
    return interpreter_.compile(program);
  }
  return std::make_unique<MachineCode>(runtime_, entry, program);
}

}  // namespace xnic::jit
