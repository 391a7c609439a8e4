#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

#include "nic/time.h"

namespace xnic::nic {

// The NIC's packet memory of one receive queue, in packets: a slot is held from the end of the
// frame on the wire until its last byte has left for PCIe (or until the NIC dropped it). It is kept
// as times at which packets leave: no event is needed to know when there is room.
// It leaves out sizes in bytes: packets of any length take one slot.
// Test: tests/nic/rx_queue_test.cpp.
class RxQueue {
 public:
  // `packets` is at least 1.
  explicit RxQueue(uint32_t packets) : leaves_(packets) {}

  size_t capacity() const { return leaves_.size(); }
  // The earliest time at or after `time` at which there is room for one more.
  Picoseconds room_at(Picoseconds time) {
    while (count_ > 0 && leaves_[first_] <= time) {
      first_ = slot(1);
      --count_;
    }
    return count_ < leaves_.size() ? time : leaves_[first_];
  }
  // When no more than half of what is here will be left.
  Picoseconds half_empty_at() const { return count_ == 0 ? 0 : leaves_[slot((count_ - 1) / 2)]; }
  // Takes a slot until `leaves`, or until those before it have left: packets leave in order. Gives
  // when. There must be room.
  Picoseconds hold(Picoseconds leaves) {
    assert(count_ < leaves_.size());
    if (count_ > 0) leaves = std::max(leaves, leaves_[slot(count_ - 1)]);
    leaves_[slot(count_)] = leaves;
    ++count_;
    return leaves;
  }

 private:
  // The place so far behind the oldest.
  size_t slot(size_t distance) const {
    const size_t place = first_ + distance;
    return place < leaves_.size() ? place : place - leaves_.size();
  }

  std::vector<Picoseconds> leaves_;  // circular: when each packet leaves, oldest at first_
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace xnic::nic
