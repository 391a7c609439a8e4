// The JIT as an engine: decides which programs are translated (jit/translator.h) and keeps their
// machine code. Code is written through one mapping and run through another, so that no page is
// writable and executable at once. Test: tests/jit/jit_test.cpp.
#include "jit/jit_engine.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "jit/compiler.h"
#include "vm/grace.h"
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
  MachineCode(std::shared_ptr<Runtime> runtime, Entry main, const void* entry,
              std::unique_ptr<FunctionEntries> functions)
      : runtime_(std::move(runtime)),
        main_(main),
        entry_(entry),
        functions_(std::move(functions)) {}
  ~MachineCode() override { runtime_->asmjit.release(main_); }

  uint64_t run(vm::Invocation& invocation) const override {
    return main_(invocation, &invocation.packet);
  }
  const void* entry() const override { return entry_; }

 protected:
  const FunctionEntries& functions() const { return *functions_; }

 private:
  std::shared_ptr<Runtime> runtime_;
  Entry main_;
  const void* entry_;
  std::unique_ptr<FunctionEntries> functions_;
};

// Of a program that makes tail calls.
class MachineCodeWithTailCalls : public MachineCode {
 public:
  using MachineCode::MachineCode;

  uint64_t run(vm::Invocation& invocation) const override {
    const vm::GraceSection section;  // until it ends, tail-called programs stay
    invocation.tail_calls_left = vm::kMaxTailCalls;
    return MachineCode::run(invocation);
  }
};

// Of a program that needs a Run.
class MachineCodeWithRun : public MachineCode {
 public:
  using MachineCode::MachineCode;

  uint64_t run(vm::Invocation& invocation) const override {
    invocation.tail_calls_left = vm::kMaxTailCalls;
    return Run(invocation, functions()).run_main();
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
  const auto at = [main](uint64_t offset) -> const void* {
    return offset == Translation::kNoCode ? nullptr : std::bit_cast<const uint8_t*>(main) + offset;
  };
  std::ranges::transform(translation->functions, std::back_inserter(functions->at), at);
  functions->enter = runtime_->enter;
  functions->resume_at = runtime_->resume_at;
  functions->may_fault = options_.counts;
  const void* const entry = at(translation->entry);
  if (translation->needs_run) {
    return std::make_unique<MachineCodeWithRun>(runtime_, main, entry, std::move(functions));
  }
  if (translation->tail_calls) {
    return std::make_unique<MachineCodeWithTailCalls>(runtime_, main, entry, std::move(functions));
  }
  return std::make_unique<MachineCode>(runtime_, main, entry, std::move(functions));
}

}  // namespace xnic::jit
