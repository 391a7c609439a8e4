// The JIT as an engine: decides which programs are translated (jit/translator.h) and keeps their
// machine code. Code is written through one mapping and run through another, so that no page is
// writable and executable at once. Test: tests/jit/jit_test.cpp.
#include "jit/jit_engine.h"

#include <bit>

#include "jit/compiler.h"
#include "vm/invocation.h"

namespace xnic::jit {

class Runtime {
 public:
  Runtime() : asmjit(&kParameters) {
    asmjit::CodeHolder code;
    asmjit::Label resume;
    if (code.init(asmjit.environment()) != asmjit::kErrorOk || !emit_enter(code, resume) ||
        asmjit.add(&enter, &code) != asmjit::kErrorOk) {
      enter = nullptr;
      return;
    }
    resume_at = std::bit_cast<const uint8_t*>(enter) + code.labelOffset(resume);
  }

  asmjit::JitRuntime asmjit;
  Enter enter = nullptr;  // null where the system gives no executable memory
  const void* resume_at = nullptr;

 private:
  static constexpr asmjit::JitAllocator::CreateParams kParameters = {
      asmjit::JitAllocatorOptions::kUseDualMapping};
};

namespace {

class MachineCode : public vm::Code {
 public:
  MachineCode(std::shared_ptr<Runtime> runtime, Entry main,
              std::unique_ptr<FunctionEntries> functions)
      : runtime_(std::move(runtime)), entry_(main), functions_(std::move(functions)) {}
  ~MachineCode() override { runtime_->asmjit.release(entry_); }

  uint64_t run(vm::Invocation& invocation) const override {
    return entry_(invocation, &invocation.packet);
  }
  const void* entry() const override { return std::bit_cast<const void*>(entry_); }

 protected:
  const Runtime& runtime() const { return *runtime_; }

 private:
  std::shared_ptr<Runtime> runtime_;
  Entry entry_;
  std::unique_ptr<FunctionEntries> functions_;
};

// Of a program that needs a Run.
class MachineCodeWithRun : public MachineCode {
 public:
  using MachineCode::MachineCode;

  uint64_t run(vm::Invocation& invocation) const override {
    Run run(invocation, runtime().enter, runtime().resume_at);
    return MachineCode::run(invocation);
  }
};

// The same for code that may fault.
class CountedCodeWithRun : public MachineCode {
 public:
  using MachineCode::MachineCode;

  uint64_t run(vm::Invocation& invocation) const override {
    Run run(invocation, runtime().enter, runtime().resume_at);
    return run.run_main(entry());
  }
};

}  // namespace

JitEngine::JitEngine(JitOptions options)
    : options_(options), runtime_(std::make_shared<Runtime>()) {}
JitEngine::~JitEngine() = default;

std::string JitEngine::objection(const vm::Program& program) { return jit::objection(program); }

std::unique_ptr<vm::Code> JitEngine::compile(const vm::Program& program) {
  asmjit::CodeHolder code;
  if (runtime_->enter == nullptr || !objection(program).empty() ||
      code.init(runtime_->asmjit.environment()) != asmjit::kErrorOk) {
    return interpreter_.compile(program);
  }
  auto functions = std::make_unique<FunctionEntries>();
  functions->program = &program;
  const auto translation = translate(program, options_, *functions, code);
  Entry main = nullptr;
  if (!translation || runtime_->asmjit.add(&main, &code) != asmjit::kErrorOk) {
    return interpreter_.compile(program);
  }
  for (const uint64_t offset : translation->functions) {
    functions->at.push_back(
        offset == Translation::kNoCode ? nullptr : std::bit_cast<const uint8_t*>(main) + offset);
  }
  if (translation->needs_run && options_.counts) {
    return std::make_unique<CountedCodeWithRun>(runtime_, main, std::move(functions));
  }
  if (translation->needs_run) {
    return std::make_unique<MachineCodeWithRun>(runtime_, main, std::move(functions));
  }
  return std::make_unique<MachineCode>(runtime_, main, std::move(functions));
}

}  // namespace xnic::jit
