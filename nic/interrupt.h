#pragma once

#include <algorithm>
#include <optional>

#include "nic/time.h"

namespace xnic::nic {

// The MSI-X vector of one queue. Raised once, it is masked until the driver arms it again, as NAPI
// drivers use it.
// It leaves out moderation by packet count and adaptive moderation.
// Test: tests/nic/interrupt_test.cpp.
class Interrupt {
 public:
  // `latency`: from the completion in host memory to the handler's first instruction.
  // `moderation`: two interrupts are at least so far apart; 0 is off.
  Interrupt(Picoseconds latency, Picoseconds moderation)
      : latency_(latency), moderation_(moderation) {}

  bool armed() const { return armed_; }
  void arm() { armed_ = true; }
  // A completion is in host memory at `ready`. Gives when the handler starts and masks the vector;
  // nothing if it was masked already.
  std::optional<Picoseconds> raise(Picoseconds ready) {
    if (!armed_) return std::nullopt;
    armed_ = false;
    const Picoseconds raised = std::max(ready, not_before_);
    not_before_ = raised + moderation_;
    return raised + latency_;
  }

 private:
  Picoseconds latency_;
  Picoseconds moderation_;
  Picoseconds not_before_ = 0;
  bool armed_ = true;
};

}  // namespace xnic::nic
