#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

#include "nic/pcie.h"
#include "nic/time.h"

namespace xnic::nic {

// The receive descriptors of one ring that the card has fetched ahead of packets: several with one
// read, as soon as the driver posts them and there is room for them.
// Test: tests/nic/descriptor_cache_test.cpp.
class DescriptorCache {
 public:
  // Holds up to `depth` descriptors of `bytes` each, and fetches `batch` at a time; both are at
  // least 1. All that fit of `posted` are there at the start.
  DescriptorCache(uint32_t depth, uint32_t batch, uint32_t bytes, uint64_t posted)
      : depth_(std::max(depth, batch)), batch_(batch), bytes_(bytes), batches_(depth_ + 1) {
    add(0, static_cast<uint32_t>(std::min<uint64_t>(depth_, posted)));
  }

  // Fetches what there is room for. `posted`: descriptors that no packet has, those that are here
  // among them.
  void fetch(Picoseconds now, uint64_t posted, Pcie& pcie) {
    while (held_ + batch_ <= depth_ && held_ < posted) {
      const auto count = static_cast<uint32_t>(std::min<uint64_t>(batch_, posted - held_));
      if (count < batch_ && held_ != 0) return;  // more will be posted before these are needed
      add(pcie.fetch(now, uint64_t{count} * bytes_), count);
    }
  }
  // Takes the oldest, of which there must be one. Gives when it is in the card.
  Picoseconds take() {
    assert(held_ > 0);
    Batch& oldest = batches_[first_];
    const Picoseconds ready = oldest.ready;
    --held_;
    if (--oldest.count == 0) first_ = after(first_);
    return ready;
  }
  uint32_t held() const { return held_; }

 private:
  struct Batch {
    Picoseconds ready = 0;
    uint32_t count = 0;
  };

  void add(Picoseconds ready, uint32_t count) {
    batches_[last_] = {ready, count};
    last_ = after(last_);
    held_ += count;
  }
  size_t after(size_t place) const { return place + 1 == batches_.size() ? 0 : place + 1; }

  uint32_t depth_;
  uint32_t batch_;
  uint32_t bytes_;
  std::vector<Batch> batches_;  // circular, oldest at first_
  size_t first_ = 0;
  size_t last_ = 0;
  uint32_t held_ = 0;
};

}  // namespace xnic::nic
