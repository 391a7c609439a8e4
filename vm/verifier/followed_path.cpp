#include "vm/verifier/followed_path.h"

#include <algorithm>

namespace xnic::vm::verifier {

std::vector<uint32_t> followed_path(const Environment& env) {
  std::vector<uint32_t> path = {env.index};
  const State* state = env.now.get();
  if (state == nullptr) return path;
  size_t steps = state->steps.size();
  uint32_t at = env.index;
  // A refusal may come before the present instruction is noted.
  const bool noted = env.has_step && steps > 0 && state->steps.back().index == at;
  const bool starts_here = at == state->first_index && steps == 0;
  if (!noted && !starts_here && env.flow.places[at].jump_target) path.push_back(at = env.previous);
  while (true) {
    const Step* step =
        steps > 0 && state->steps[steps - 1].index == at ? &state->steps[steps - 1] : nullptr;
    const bool is_first =
        at == state->first_index && (steps == 0 || (steps == 1 && step != nullptr));
    if (is_first) {
      state = state->parent;
      const bool at_start = state == nullptr || (state->at_entry && state->steps.empty() &&
                                                 state->index == state->first_index);
      if (at_start) break;
      at = state->last_index;
      steps = state->steps.size();
    } else if (step != nullptr) {
      at = step->previous;
      --steps;
    } else if (at > 0) {
      --at;
      // The second half of ld_imm64 is no instruction.
      if (env.code[at].code == 0 && at > 0) --at;
    } else {
      break;
    }
    path.push_back(at);
  }
  std::ranges::reverse(path);
  return path;
}

}  // namespace xnic::vm::verifier
