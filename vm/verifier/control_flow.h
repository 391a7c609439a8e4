#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "vm/isa.h"
#include "vm/program.h"

namespace xnic::vm::verifier {

// What the control flow alone tells of an instruction.
struct Place {
  bool prune_point = false;  // states are compared here
  bool jump_target = false;  // may be reached by other ways than from the instruction before
  bool checkpoint = false;   // a state is always kept here
  bool calls_back = false;   // a helper that calls a function of the program before it returns
  bool iterates = false;     // asks an iterator for its next value
  uint16_t live = 0;         // registers that may be read from here on before they are written
  uint32_t loop = 0;         // the strongly connected part of the graph, 0 where there is no loop
};

// What it tells of a function.
struct Function {
  uint32_t start = 0;
  uint32_t end = 0;
  bool is_global = false;
  bool has_tail_call = false;
  bool has_packet_load = false;  // of the legacy kind, that may end the function
  bool changes_packet = false;   // it or what it calls
  bool jumps_back = false;       // some jump leads back: only then may there be loops
  // Its instructions, successors before their predecessors where there is no loop.
  std::vector<uint32_t> post_order;
};

struct ControlFlow {
  std::vector<Place> places;  // one for each instruction slot
  std::vector<Function> functions;

  // The number of the function that an instruction belongs to.
  uint32_t function_of(uint32_t index) const;
};

// Where control may go on in the same function after an instruction: none, one or two places.
struct Successors {
  uint32_t count = 0;
  uint32_t at[2] = {};
};
inline Successors successors(std::span<const bpf_insn> code, uint32_t index) {
  const bpf_insn& insn = code[index];
  const auto target = [&] {
    return static_cast<uint32_t>(int64_t{index} + 1 + jump_distance(insn));
  };
  switch (opcode(insn).kind) {
    case Kind::exit:
      return {};
    case Kind::jump:
      return {1, {target(), 0}};
    case Kind::jump_if:
    case Kind::may_goto:
      return {2, {index + 1, target()}};
    default:
      return {1, {index + slots(insn), 0}};
  }
}

// `code` has passed the structural checks of vm/verifier.cpp: BPF_PSEUDO_FUNC names indices.
// Test: tests/vm/verifier/control_flow_test.cpp.
ControlFlow analyse_control_flow(const ProgramSpec& spec, std::span<const Subprogram> subprograms);

}  // namespace xnic::vm::verifier
