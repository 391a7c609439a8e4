// The descriptor ring between NIC and driver.
// It leaves out descriptor formats, multi-descriptor packets (any packet takes one) and the NIC's
// prefetching of descriptors.
// Test: tests/nic/ring_test.cpp.
#include "nic/ring.h"

#include <cassert>
#include <utility>

namespace xnic::nic {

void Ring::fill(std::unique_ptr<Transit> transit) {
  assert(free() > 0);
  slots_[tail_++ % slots_.size()] = std::move(transit);
}

std::unique_ptr<Transit> Ring::take() {
  assert(head_ != tail_);
  return std::move(slots_[head_++ % slots_.size()]);
}

void Ring::post(uint64_t count) {
  posted_ += count;
  assert(posted_ <= head_ + slots_.size());
}

}  // namespace xnic::nic
