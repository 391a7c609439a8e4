#pragma once

#include <cstdint>
#include <vector>

#include "nic/time.h"

namespace xnic::nic {

// The NIC's packet memory of one receive queue, in packets: a slot is held from the end of the
// frame on the wire until its last byte has left for PCIe (or until the NIC dropped it).
class RxQueue {
 public:
  // `packets` is at least 1.
  explicit RxQueue(uint32_t packets) : leaves_(packets) {}

  size_t capacity() const { return leaves_.size(); }
  // The earliest time at or after `time` at which there is room for one more.
  Picoseconds room_at(Picoseconds time);
  // Takes a slot until `leaves`, or until those before it have left: packets leave in order. Gives
  // when. There must be room.
  Picoseconds hold(Picoseconds leaves);

 private:
  std::vector<Picoseconds> leaves_;  // circular: when each packet leaves, oldest at first_
  size_t first_ = 0;
  size_t count_ = 0;
};

}  // namespace xnic::nic
