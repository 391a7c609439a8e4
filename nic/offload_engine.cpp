// The offload engine's time: a fixed cost a packet and a cost an instruction, on one core.
// It leaves out core models (cost of a block, a helper, a map access), several cores, and what a
// real card's firmware refuses to run.
// Test: tests/nic/offload_engine_test.cpp.
#include "nic/offload_engine.h"

namespace xnic::nic {

Picoseconds OffloadEngine::charge(Picoseconds start, const Offloaded& run) {
  if (!run.ran) return start;
  const Picoseconds time = fixed_ + run.instructions * instruction_;
  free_at_ = start + time;
  work_.add(time);
  return free_at_;
}

}  // namespace xnic::nic
