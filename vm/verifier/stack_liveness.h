#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "vm/verifier/control_flow.h"
#include "vm/verifier/state.h"

namespace xnic::vm::verifier {

// Which stack slots may still be read after an instruction. The analysis of values notes which
// slots each instruction reads; from these notes, and from the stores through r10, a data flow
// analysis over each function finds the slots that are alive. Notes are kept apart for each chain
// of call sites, since a function may be handed pointers into other frames by each of its callers.
// Left out: that stores through other registers overwrite slots, which only costs precision.
// Test: tests/vm/verifier/analysis_test.cpp.
class StackLiveness {
 public:
  StackLiveness(std::span<const bpf_insn> code, const ControlFlow& flow)
      : code_(code), flow_(flow) {}

  // The instruction at `state.index` reads slots `first`..`last` of a frame.
  void note_read(const State& state, uint32_t frame, uint32_t first, uint32_t last);

  // Whether the slot may be read on a path from the state's instruction on. Valid once all of
  // these paths have been analysed.
  bool is_alive(const State& state, uint32_t frame, uint32_t slot);

 private:
  struct Masks {
    uint64_t reads = 0;
    uint64_t alive = 0;  // before it
  };
  struct Instance {
    uint32_t function = 0;
    std::vector<std::vector<Masks>> frames;  // by frame, then by place in the function
    bool changed = true;
  };
  using Chain = std::vector<uint32_t>;  // call sites, and the function's start

  bool is_last(const State& state, uint32_t depth, uint32_t start) const;
  Instance& instance_of(const State& state, uint32_t depth);
  Masks& masks_at(const State& state, uint32_t frame);
  void update();
  void flow_back(Instance& instance, uint32_t depth);
  bool alive_at(Instance& instance, uint32_t index, uint32_t frame, uint32_t slot);

  std::span<const bpf_insn> code_;
  const ControlFlow& flow_;
  std::map<Chain, Instance> instances_;
  Chain last_chain_;  // that was asked for last
  Instance* last_ = nullptr;
  std::vector<std::vector<uint32_t>> orders_;  // post order of each function, made when asked for
  bool changed_ = false;
};

}  // namespace xnic::vm::verifier
