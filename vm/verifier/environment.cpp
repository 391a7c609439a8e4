#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

State& Environment::branch(uint32_t at, uint32_t from) {
  StatePointer other = states.copy(*now);
  other->index = at;
  other->last_index = from;
  if (other->parent != nullptr) ++other->parent->branches;
  pending.push_back(std::move(other));
  return *pending.back();
}

Step& Environment::step() {
  if (!has_step) {
    has_step = true;
    now->steps.push_back({.index = index, .previous = previous});
  }
  return now->steps.back();
}

}  // namespace xnic::vm::verifier
