// A receive queue of the NIC as times at which its packets leave: no event is needed to know when
// there is room. It leaves out sizes in bytes: packets of any length take one slot.
// Test: tests/nic/rx_queue_test.cpp.
#include "nic/rx_queue.h"

#include <algorithm>
#include <cassert>

namespace xnic::nic {

Picoseconds RxQueue::room_at(Picoseconds time) {
  while (count_ > 0 && leaves_[first_] <= time) {
    first_ = (first_ + 1) % leaves_.size();
    --count_;
  }
  return count_ < leaves_.size() ? time : leaves_[first_];
}

Picoseconds RxQueue::hold(Picoseconds leaves) {
  assert(count_ < leaves_.size());
  if (count_ > 0) {
    const size_t last = (first_ + count_ - 1) % leaves_.size();
    leaves = std::max(leaves, leaves_[last]);
  }
  leaves_[(first_ + count_) % leaves_.size()] = leaves;
  ++count_;
  return leaves;
}

}  // namespace xnic::nic
