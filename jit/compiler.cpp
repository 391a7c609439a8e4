// What is translated, and the way in. Test: tests/jit/jit_test.cpp.
#include "jit/compiler.h"

#include <fmt/format.h>

#include "jit/translator.h"
#include "vm/exceptions.h"

namespace xnic::jit {

std::string objection(const vm::Program& program) {
  const vm::Proof& proof = program.proof();
  if (proof.functions.size() != program.subprograms().size()) {
    return fmt::format("program {}: machine code trusts the verifier, which did not follow values",
                       program.name());
  }
  const vm::ProgramType& type = *vm::find_program_type(program.type());
  const std::span<const bpf_insn> insns = program.instructions();
  for (uint32_t i = 0; i < insns.size(); ++i) {
    const bool is_call = insns[i].code == (BPF_JMP | BPF_CALL);
    if (!is_call && proof.meets_context[i] == 0) continue;
    if (is_call && vm::is_throw(insns[i])) {
      return fmt::format("program {}: machine code does not throw", program.name());
    }
    if (is_call || !proof.reaches(i)) continue;
    const uint32_t width = vm::opcode(insns[i]).width;
    const vm::ContextField* field =
        type.field_for(static_cast<uint32_t>(insns[i].off), width, false);
    // The one field that a packet may be without.
    if (field != nullptr && field->name == "egress_ifindex") {
      return fmt::format("program {}, {}: machine code does not read egress_ifindex",
                         program.name(), vm::describe_instruction(program, i));
    }
  }
  return {};
}

Result<Translation> translate(const vm::Program& program, const JitOptions& options,
                              const FunctionEntries& functions, asmjit::CodeHolder& code,
                              std::vector<CodePart>* parts) {
  return Translator(program, options, functions, code, parts).run();
}

bool emit_enter(asmjit::CodeHolder& code, asmjit::Label& resume) {
  Refusals refusals;
  x86::Assembler a(&code);
  a.setErrorHandler(&refusals);
  resume = a.newLabel();
  const Layout& layout = Layout::get();
  const int32_t callbacks = layout.callbacks;
  const auto stack = layout.run_state + static_cast<int32_t>(offsetof(RunState, resume_stack));
  const std::array<Gp, 6> saved = {x86::rbp, x86::rbx, x86::r12, x86::r13, x86::r14, x86::r15};
  for (const Gp& reg : saved) a.push(reg);
  a.mov(kInvocation, x86::rdi);
  a.mov(kScratch1, x86::rdx);
  a.mov(kScratch2, x86::rsi);
  // Enter nests: a callback's fault ends the callback alone.
  a.mov(x86::rax, x86::qword_ptr(kInvocation, callbacks));
  a.push(x86::qword_ptr(x86::rax, stack));
  a.mov(x86::qword_ptr(x86::rax, stack), x86::rsp);
  for (int32_t i = 0; i < 5; ++i) {
    a.mov(host_register(static_cast<uint32_t>(i) + 1), x86::qword_ptr(kScratch2, 8 * i));
  }
  a.call(kScratch1);
  a.bind(resume);
  a.mov(x86::rdx, x86::qword_ptr(kInvocation, callbacks));
  a.pop(x86::qword_ptr(x86::rdx, stack));
  for (auto reg = saved.rbegin(); reg != saved.rend(); ++reg) a.pop(*reg);
  a.ret();
  return refusals.first.empty();
}

}  // namespace xnic::jit
