#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "nic/transit.h"

namespace xnic::nic {

// A receive ring: descriptors that the host posts, the NIC fills in order and the host takes in
// order. The counts go up for ever.
// It leaves out descriptor formats, multi-descriptor packets (any packet takes one) and the NIC's
// prefetching of descriptors.
// Test: tests/nic/ring_test.cpp.
class Ring {
 public:
  // All `descriptors` (at least 1) are posted at the start.
  explicit Ring(uint32_t descriptors) : slots_(descriptors), posted_(descriptors) {}

  size_t capacity() const { return slots_.size(); }
  // Posted descriptors that the NIC has not filled.
  uint64_t free() const { return posted_ - filled_; }
  // The place of the next descriptor that the NIC fills; places are used in turn.
  size_t next_place() const { return tail_; }
  // The NIC fills the next descriptor; there must be a free one.
  void fill(std::unique_ptr<Transit> transit) {
    assert(free() > 0);
    ++filled_;
    slots_[std::exchange(tail_, after(tail_))] = std::move(transit);
  }
  // The oldest filled descriptor, null if there is none. Its `ready` may lie in the future.
  const Transit* oldest() const { return slots_[head_].get(); }
  // What is filled, from the oldest on.
  template <class Visit>
  void for_each(Visit visit) const {
    size_t slot = head_;
    for (uint64_t left = filled_ - taken_; left != 0; --left, slot = after(slot)) {
      visit(*slots_[slot]);
    }
  }
  // Takes the oldest; there must be one. Its descriptor is not posted again before post().
  std::unique_ptr<Transit> take() {
    assert(oldest() != nullptr);
    ++taken_;
    return std::move(slots_[std::exchange(head_, after(head_))]);
  }
  // The host posts `count` of the descriptors that it took.
  void post(uint64_t count) {
    posted_ += count;
    assert(posted_ <= taken_ + slots_.size());
  }

 private:
  size_t after(size_t slot) const { return slot + 1 == slots_.size() ? 0 : slot + 1; }

  std::vector<std::unique_ptr<Transit>> slots_;
  size_t head_ = 0;  // the slot that the host takes next
  size_t tail_ = 0;  // the slot that the NIC fills next
  uint64_t taken_ = 0;
  uint64_t filled_ = 0;
  uint64_t posted_ = 0;
};

}  // namespace xnic::nic
