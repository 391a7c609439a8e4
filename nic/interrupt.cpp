// Interrupts: MSI-X latency and moderation by time.
// It leaves out moderation by packet count and adaptive moderation.
// Test: tests/nic/interrupt_test.cpp.
#include "nic/interrupt.h"

#include <algorithm>

namespace xnic::nic {

std::optional<Picoseconds> Interrupt::raise(Picoseconds ready) {
  if (!armed_) return std::nullopt;
  armed_ = false;
  const Picoseconds raised = std::max(ready, not_before_);
  not_before_ = raised + moderation_;
  return raised + latency_;
}

}  // namespace xnic::nic
