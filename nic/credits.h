#pragma once

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdint>
#include <vector>

#include "nic/time.h"

namespace xnic::nic {

// What limits how much may be under way at a time: so many items, and of what they carry so many
// units. What was taken comes back in the order in which it was taken: flow-control credits of a
// PCIe receiver, tags of reads.
// Test: tests/nic/credits_test.cpp.
class Credits {
 public:
  Credits(uint32_t items, uint32_t units)
      : held_(std::bit_ceil(items)), mask_(held_.size() - 1), items_(items), free_units_(units) {}

  // Takes an item with so many units, at `now` or when there are as many. Gives when. More units
  // than there are ever wait for all.
  Picoseconds take(Picoseconds now, uint32_t units) {
    while (next_ - oldest_ == items_ || (free_units_ < units && oldest_ != next_)) {
      const Held& oldest = held_[oldest_++ & mask_];
      now = std::max(now, oldest.until);
      free_units_ += oldest.units;
    }
    const uint32_t taken = std::min(units, free_units_);
    free_units_ -= taken;
    held_[next_ & mask_].units = taken;
    return now;
  }
  // When the item that was taken last comes back.
  void hold(Picoseconds until) {
    assert(next_ - oldest_ < items_);
    held_[next_++ & mask_].until = until;
  }

 private:
  struct Held {
    Picoseconds until;
    uint32_t units;
  };

  std::vector<Held> held_;  // circular, by number
  size_t mask_;
  uint64_t items_;
  // Numbers of items.
  uint64_t oldest_ = 0;  // that has not come back
  uint64_t next_ = 0;
  uint32_t free_units_;
};

}  // namespace xnic::nic
