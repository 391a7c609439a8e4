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

// Fits every program's main function: r1 is the packet's address.
using Entry = uint64_t (*)(vm::Invocation&, vm::Packet*);
// Enters generated code from C++: r1 to r5 are `arguments`, `target` a function of generated code.
// A fault in that code, however deep, comes back here.
using Enter = uint64_t (*)(vm::Invocation&, const uint64_t* arguments, const void* target);

// Where the functions of a program begin in its machine code, and how a Run of it enters them.
struct FunctionEntries {
  const vm::Program* program = nullptr;
  std::vector<const void*> at;  // by subprogram; null where nothing is
  Enter enter = nullptr;
  const void* resume_at = nullptr;  // where Enter goes on after a fault
  bool may_fault = false;
};

// What generated code keeps in a run beside registers and stack; it knows the offsets.
struct RunState {
  uint64_t resume_stack = 0;        // the stack of the innermost Enter, for a fault
  const void* resume_at = nullptr;  // where Enter goes on
  uint32_t faulted = 0;             // a callback faulted: the helper's caller has to end, too
};

// One run of a program that needs more than registers and stack: callbacks, maps in maps, functions
// of its own that may fault. The other programs run without.
class Run final : public vm::Callbacks {
 public:
  Run(vm::Invocation& invocation, const FunctionEntries& functions)
      : invocation_(invocation), outer_(invocation.callbacks), functions_(functions) {
    state.resume_at = functions.resume_at;
    invocation.callbacks = this;
  }
  ~Run() override { invocation_.callbacks = outer_; }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Runs the main function.
  uint64_t run_main();
  uint64_t call(uint64_t function, const std::array<uint64_t, 5>& arguments) override;
  // The verifier has said what a callback may touch.
  void grant_value(const vm::Map&, const uint8_t*) override {}
  void lend(const uint8_t*, uint64_t) override {}
  void take_back() override {}
  const vm::Program& program() const override { return *functions_.program; }

  static Run& of(vm::Invocation& invocation) { return static_cast<Run&>(*invocation.callbacks); }
  uint64_t hold(std::shared_ptr<vm::Map> map);

  RunState state;

 private:
  using Maps = std::vector<std::shared_ptr<vm::Map>>;
  // Out of line: most runs hold nothing.
  struct LetGo {
    void operator()(Maps* held) const;
  };

  vm::GraceSection section_;  // until it ends, tail-called programs stay
  vm::Invocation& invocation_;
  vm::Callbacks* outer_;  // of the program that went on to this one by a tail call
  const FunctionEntries& functions_;
  std::unique_ptr<Maps, LetGo> held_;
};

// What generated code calls. Two results come back in rax and rdx.
struct Answer {
  uint64_t value;
  uint64_t valid;  // 0: there is none
};

uint64_t lookup_with_inner_maps(vm::Invocation& invocation, vm::Map& map, const uint8_t* key);
// A tail call to a slot for which no machine code is noted yet. `value` is where to go on, or the
// r0 of a program that has no machine code and has run already.
enum class TailCall : uint64_t { not_taken, goes_on, has_run };
struct TailCallAnswer {
  uint64_t value;
  TailCall outcome;
};
TailCallAnswer tail_call(vm::Invocation& invocation, vm::Map& map, uint32_t index);
// Runs a program that needs a Run.
uint64_t run_with_run(vm::Invocation& invocation, const FunctionEntries& functions);
Answer load_packet(const vm::Packet& packet, const bpf_insn& insn, uint64_t source);
// Of a field that generated code does not read by itself; `place` is offset | size << 16.
uint64_t load_context(const vm::Packet& packet, const vm::ProgramType& type, uint32_t place);
void store_context(vm::Packet& packet, const vm::ProgramType& type, uint32_t place, uint64_t value);
// The run has passed vm::kRunLimit, at the instruction if there is no fault yet.
void fault_at_limit(vm::Invocation& invocation, const vm::Program& program, uint32_t index);

}  // namespace xnic::jit
