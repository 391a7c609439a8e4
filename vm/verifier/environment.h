#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "vm/btf.h"
#include "vm/exceptions.h"
#include "vm/helper.h"
#include "vm/kernel_face.h"
#include "vm/map.h"
#include "vm/program.h"
#include "vm/program_type.h"
#include "vm/proof.h"
#include "vm/verifier/control_flow.h"
#include "vm/verifier/log.h"
#include "vm/verifier/stack_liveness.h"
#include "vm/verifier/state_pool.h"

namespace xnic::vm::verifier {

inline constexpr int64_t kMaxVariableOffset = int64_t{1} << 29;  // BPF_MAX_VAR_OFF
inline constexpr uint64_t kMaxVariableSize = uint64_t{1} << 29;  // BPF_MAX_VAR_SIZ

// What all parts of the analysis share: the program, and how far its analysis has come.
struct Environment {
  Environment(const ProgramSpec& program, const Btf& kernel_types_of_ids,
              std::span<const Subprogram> program_functions,
              std::span<const std::shared_ptr<Map>> program_maps, bool gpl, uint32_t log_level,
              uint32_t cpus)
      : spec(program),
        kernel_types(kernel_types_of_ids),
        code(program.instructions),
        type(*find_program_type(program.type)),
        subprograms(program_functions),
        maps(program_maps),
        gpl_compatible(gpl),
        possible_cpus(cpus),
        flow(analyse_control_flow(program, program_functions)),
        liveness(code, flow),
        log(log_level),
        stack(program_functions.size()),
        called(program_functions.size()),
        is_callback(program_functions.size()),
        is_async_callback(program_functions.size()),
        base_types(code.size(), Type::uninitialised) {
    const uint32_t callback = vm::exception_callback(program).value_or(0);
    if (callback != 0) exception_callback = flow.function_of(callback);
    proof.reached.resize(code.size());
    well_formed.resize(code.size());
  }

  const ProgramSpec& spec;
  const Btf& kernel_types;  // that ids in the program are of
  // The program is not judged for another kernel: it will run here.
  bool will_run() const { return &kernel_types == &vm::kernel_types(); }
  std::span<const bpf_insn> code;
  const ProgramType& type;
  std::span<const Subprogram> subprograms;
  std::span<const std::shared_ptr<Map>> maps;
  bool gpl_compatible;
  uint32_t possible_cpus;
  ControlFlow flow;
  StackLiveness liveness;
  Log log;

  StatePool states;

  // The path that is followed: its state, and the instruction that is looked at.
  StatePointer now;
  uint32_t index = 0;
  uint32_t previous = 0;

  // Paths that are still to be followed, the last first.
  std::vector<StatePointer> pending;

  // Where the context are values of the kernel's types, what each 8 bytes hold.
  std::vector<Register> arguments;

  // Found out on the way.
  std::vector<Proof::Function> stack;  // of each function
  std::vector<uint8_t> called;         // global functions
  // Functions that helpers call, and those of them that run later.
  std::vector<uint8_t> is_callback;
  std::vector<uint8_t> is_async_callback;
  uint32_t exception_callback = 0;   // function; 0: none
  std::vector<uint8_t> well_formed;  // instructions whose form was looked at
  std::vector<Type> base_types;      // of the pointer that an instruction accesses
  Proof proof;

  uint32_t new_id() { return ++last_id; }
  // The id of the value of a map that has but one.
  uint32_t id_of_value(const MapSpec* map) {
    uint32_t& id = value_ids[map];
    return id != 0 ? id : id = new_id();
  }
  uint32_t last_id = 0;
  std::unordered_map<const MapSpec*, uint32_t> value_ids;
  bool has_step = false;  // of the present instruction

  Register& reg(uint32_t number) { return (*now)[number]; }
  const bpf_insn& insn() const { return code[index]; }
  bool strict_alignment() const { return (spec.flags & BPF_F_STRICT_ALIGNMENT) != 0; }

  // The map of a spec; null for what inner maps are like.
  Map* map_of(const MapSpec* map) const {
    for (const std::shared_ptr<Map>& m : maps) {
      if (&m->spec() == map) return m.get();
    }
    return nullptr;
  }

  // Another path, which begins as a copy of this one at `at`, coming from `from`.
  State& branch(uint32_t at, uint32_t from);
  // Notes something about the present instruction for Precision; makes the step if there is none.
  Step& step();
};

}  // namespace xnic::vm::verifier
