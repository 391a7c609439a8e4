#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "vm/verifier/control_flow.h"
#include "vm/verifier/state.h"

namespace xnic::vm::verifier {

// Which stack slots may still be read after an instruction. The analysis of values notes which
// slots each instruction reads, and which it overwrites on every path; from these notes a data flow
// analysis over each function finds the slots that are alive. Notes are kept apart for each chain
// of call sites, since a function may be handed pointers into other frames by each of its callers.
// Test: tests/vm/verifier/analysis_test.cpp.
class StackLiveness {
 public:
  StackLiveness(std::span<const bpf_insn> code, const ControlFlow& flow)
      : code_(code), flow_(flow) {}

  // The instruction at `state.index` reads slots `first`..`last` of a frame.
  void note_read(const State& state, uint32_t frame, uint32_t first, uint32_t last);

  // The instruction at `state.index` overwrites a whole slot of a frame. Told before commit(),
  // which is called each time that an instruction that may store has run: what it does not
  // overwrite then, it does not overwrite on every path.
  void note_write(uint32_t frame, uint32_t slot) { written_[frame] |= uint64_t{1} << slot; }
  void commit(const State& state);

  // Whether the slot may be read on a path from the state's instruction on. Valid once all of
  // these paths have been analysed. Any slot may be where finding out has become too much work.
  bool is_alive(const State& state, uint32_t frame, uint32_t slot);

  // What the notes take.
  size_t bytes() const { return bytes_; }

 private:
  struct Masks {
    uint64_t reads = 0;
    uint64_t writes = 0;
    uint64_t alive = 0;         // before it
    uint64_t written_from = 0;  // on every path from here to the end of the function
  };
  struct Instance {
    uint32_t function = 0;
    std::vector<std::vector<Masks>> frames;  // by frame, then by place in the function
    std::vector<bool> stored;                // whether commit() has been called, by place
    bool changed = true;
  };
  using Chain = std::vector<uint32_t>;  // call sites, and the function's start

  bool is_last(const State& state, uint32_t depth, uint32_t start) const;
  Instance& instance_of(const State& state, uint32_t depth);
  std::vector<Masks>& masks_of(Instance& instance, uint32_t frame);
  void update();
  void flow_back(Instance& instance);
  void tell_caller(const Instance& instance, const Chain& chain);
  bool alive_at(Instance& instance, uint32_t index, uint32_t frame, uint32_t slot);

  std::span<const bpf_insn> code_;
  const ControlFlow& flow_;
  std::map<Chain, Instance> instances_;
  Chain last_chain_;  // that was asked for last
  Instance* last_ = nullptr;
  std::array<uint64_t, kMaxCallFrames> written_{};  // by frame, since the last commit()
  bool changed_ = false;
  size_t bytes_ = 0;
  uint64_t visits_ = 0;  // of instructions by flow_back()
};

}  // namespace xnic::vm::verifier
