#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "nic/time.h"

namespace xnic::nic {

// The MSI-X vector of one queue. Raised once, it is masked until the driver arms it again, as NAPI
// drivers use it.
// It leaves out adaptive moderation.
// Test: tests/nic/interrupt_test.cpp.
class Interrupt {
 public:
  // `latency`: from the completion in host memory to the handler's first instruction.
  // `moderation`: two interrupts are at least so far apart, unless so many `packets` wait before
  // that; 0 is off.
  Interrupt(Picoseconds latency, Picoseconds moderation, uint32_t packets = 0)
      : latency_(latency), moderation_(moderation), packets_(packets) {}

  void arm() {
    armed_ = true;
    waiting_ = 0;
    raised_ = kNever;
  }
  // A completion is in host memory at `ready`. Gives when the handler starts where that is new, and
  // earlier than what was said before; nothing if the vector is masked.
  std::optional<Picoseconds> raise(Picoseconds ready) {
    if (!armed_) return std::nullopt;
    const Picoseconds wanted = ++waiting_ == packets_ ? ready : std::max(ready, not_before_);
    if (wanted >= raised_) return std::nullopt;
    raised_ = wanted;
    return raised_ + latency_;
  }
  // The time of a handler has come: true, and masked, unless an earlier one took its place.
  bool handle(Picoseconds now) {
    if (!armed_ || now < raised_ + latency_) return false;
    armed_ = false;
    not_before_ = raised_ + moderation_;
    return true;
  }

 private:
  static constexpr Picoseconds kNever = kEndOfTime;

  Picoseconds latency_;
  Picoseconds moderation_;
  uint32_t packets_;
  Picoseconds not_before_ = 0;
  Picoseconds raised_ = kNever;  // while armed: when, as far as is known
  uint32_t waiting_ = 0;         // completions while armed
  bool armed_ = true;
};

}  // namespace xnic::nic
