#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "vm/grace.h"
#include "vm/invocation.h"
#include "vm/program.h"
#include "vm/program_type.h"

namespace xnic::jit {

// Where the functions of a program begin in its machine code, for callbacks.
struct FunctionEntries {
  const vm::Program* program = nullptr;
  std::vector<const void*> at;  // by subprogram; null where nothing is
};

// Enters generated code from C++: r1 to r5 are `arguments`, `target` a function of generated code.
// A fault in that code, however deep, comes back here.
using Enter = uint64_t (*)(vm::Invocation&, const uint64_t* arguments, const void* target);

// What generated code keeps in a run beside registers and stack; it knows the offsets.
struct RunState {
  uint64_t resume_stack = 0;           // the stack of the innermost Enter, for a fault
  const void* resume_at = nullptr;     // where Enter goes on
  const FunctionEntries* functions{};  // of the program that called a helper with a callback
  uint32_t tail_calls = 0;
  uint32_t faulted = 0;  // a callback faulted: the helper's caller has to end, too
};

// One run of a program that needs more than registers and stack: callbacks, tail calls, maps in
// maps, functions of its own. The other programs run without.
class Run final : public vm::Callbacks {
 public:
  Run(vm::Invocation& invocation, Enter enter, const void* resume_at)
      : invocation_(invocation), enter_(enter) {
    state.resume_at = resume_at;
    invocation.callbacks = this;
  }
  ~Run() override { invocation_.callbacks = nullptr; }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Runs the main function from its entry.
  uint64_t run_main(const void* entry) {
    const std::array<uint64_t, 5> arguments = {std::bit_cast<uint64_t>(&invocation_.packet)};
    return enter_(invocation_, arguments.data(), entry);
  }
  uint64_t call(uint64_t function, const std::array<uint64_t, 5>& arguments) override;
  // The verifier has said what a callback may touch.
  void grant_value(const vm::Map&, const uint8_t*) override {}
  void lend(const uint8_t*, uint64_t) override {}
  void take_back() override {}
  const vm::Program& program() const override { return *state.functions->program; }

  static Run& of(vm::Invocation& invocation) { return static_cast<Run&>(*invocation.callbacks); }
  uint64_t hold(std::shared_ptr<vm::Map> map);
  // Keeps a tail-called program until the run ends.
  void hold(std::shared_ptr<const vm::Program> program);
  const vm::Program* last_tail_called() const;

  RunState state;

 private:
  struct Held;
  // Out of line: most runs hold nothing.
  struct LetGo {
    void operator()(Held* held) const;
  };
  Held& held();

  vm::GraceSection section_;  // until it ends, tail-called programs stay
  vm::Invocation& invocation_;
  Enter enter_;
  std::unique_ptr<Held, LetGo> held_;
};

// What generated code calls. Two results come back in rax and rdx.
struct Answer {
  uint64_t value;
  uint64_t valid;  // 0: there is none
};

uint64_t lookup_with_inner_maps(vm::Invocation& invocation, vm::Map& map, const uint8_t* key);
// The machine code that a tail call goes on with, where none is noted yet; null where it is not
// taken.
const void* tail_call(vm::Invocation& invocation, vm::Map& map, uint32_t index);
Answer load_packet(const vm::Packet& packet, const bpf_insn& insn, uint64_t source);
// Of a field that generated code does not read by itself; `place` is offset | size << 16.
uint64_t load_context(const vm::Packet& packet, const vm::ProgramType& type, uint32_t place);
void store_context(vm::Packet& packet, const vm::ProgramType& type, uint32_t place, uint64_t value);
// The run has passed vm::kRunLimit at the instruction.
void fault_at_limit(vm::Invocation& invocation, const vm::Program& program, uint32_t index);

}  // namespace xnic::jit
