#pragma once

#include <cstddef>
#include <memory>
#include <memory_resource>

#include "vm/verifier/state.h"

namespace xnic::vm::verifier {

// Makes the states of paths and takes them back. A path ends every few instructions, so the memory
// of one that comes back is kept for the next. It also adds up what the states take, which a
// program could make grow without end. Must outlive them.
class StatePool {
 public:
  struct GiveBack {
    StatePool* pool = nullptr;
    void operator()(State* state) const { pool->take_back(state); }
  };
  using Pointer = std::unique_ptr<State, GiveBack>;

  // One without frames.
  Pointer make() { return copy(State()); }
  Pointer copy(const State& state);

  // What the states that are not given back take, as they were when they were made.
  size_t bytes() const { return bytes_; }

 private:
  void take_back(State* state);

  // Frames of the deepest call, and the largest stack, are small enough to be kept.
  std::pmr::unsynchronized_pool_resource memory_{
      {.max_blocks_per_chunk = 0, .largest_required_pool_block = 16 << 10}};
  size_t bytes_ = 0;
};

using StatePointer = StatePool::Pointer;

}  // namespace xnic::vm::verifier
