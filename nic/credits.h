#pragma once

#include <algorithm>
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
  Credits(uint32_t items, uint32_t units) : held_(items), free_items_(items), free_units_(units) {}

  // Takes an item with so many units, at `now` or when there are as many. Gives when. More units
  // than there are ever wait for all.
  Picoseconds take(Picoseconds now, uint32_t units) {
    while (free_items_ == 0 || (free_units_ < units && free_items_ < held_.size())) {
      const Held& oldest = held_[first_];
      now = std::max(now, oldest.until);
      free_units_ += oldest.units;
      ++free_items_;
      first_ = after(first_);
    }
    const uint32_t taken = std::min(units, free_units_);
    free_units_ -= taken;
    --free_items_;
    held_[last_] = {0, taken};
    return now;
  }
  // When the item that was taken last comes back.
  void hold(Picoseconds until) {
    assert(free_items_ < held_.size());
    held_[last_].until = until;
    last_ = after(last_);
  }

 private:
  struct Held {
    Picoseconds until;
    uint32_t units;
  };

  size_t after(size_t place) const { return place + 1 == held_.size() ? 0 : place + 1; }

  std::vector<Held> held_;  // circular, oldest at first_
  size_t first_ = 0;
  size_t last_ = 0;
  uint32_t free_items_;
  uint32_t free_units_;
};

}  // namespace xnic::nic
