#include "vm/verifier/state_pool.h"

namespace xnic::vm::verifier {
namespace {

size_t bytes_of(const State& state) {
  size_t bytes =
      sizeof(State) + state.frames.size() * sizeof(Frame) + state.steps.size() * sizeof(Step);
  for (const Frame& frame : state.frames) bytes += frame.stack.size() * sizeof(StackSlot);
  return bytes;
}

}  // namespace

StatePool::Pointer StatePool::copy(const State& state) {
  Allocator allocator(&memory_);
  Pointer made(allocator.new_object<State>(allocator), {this});
  *made = state;
  made->counted_bytes = bytes_of(state);
  bytes_ += made->counted_bytes;
  return made;
}

void StatePool::take_back(State* state) {
  bytes_ -= state->counted_bytes;
  Allocator(&memory_).delete_object(state);
}

}  // namespace xnic::vm::verifier
