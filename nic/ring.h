#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "nic/time.h"
#include "vm/packet.h"

namespace xnic::nic {

// A packet on its way through NIC and host. Whoever holds the pointer owns the packet; the system
// around the NIC derives from it to keep its own record of the packet.
struct Transit {
  virtual ~Transit() = default;
  vm::Packet packet;
  uint32_t port = 0;        // of the card: where it comes in, or is to leave
  Picoseconds arrival = 0;  // first bit on the wire
  // Where it has come, 0 before that.
  Picoseconds received = 0;  // last bit on the wire
  Picoseconds ready = 0;     // in host memory, completion written
  Picoseconds taken = 0;     // by the driver's poll
  Picoseconds left = 0;      // the host's hands, to be sent
};

// A receive ring: descriptors that the host posts, the NIC fills in order and the host takes in
// order. head_, tail_ and posted_ count up for ever; a slot is the count modulo the size.
class Ring {
 public:
  // All `descriptors` (at least 1) are posted at the start.
  explicit Ring(uint32_t descriptors) : slots_(descriptors), posted_(descriptors) {}

  size_t capacity() const { return slots_.size(); }
  // Posted descriptors that the NIC has not filled.
  uint64_t free() const { return posted_ - tail_; }
  // The NIC fills the next descriptor; there must be a free one.
  void fill(std::unique_ptr<Transit> transit);
  // The oldest filled descriptor, null if there is none. Its `ready` may lie in the future.
  const Transit* oldest() const { return head_ == tail_ ? nullptr : at(head_).get(); }
  // Takes the oldest; there must be one. Its descriptor is not posted again before post().
  std::unique_ptr<Transit> take();
  // The host posts `count` of the descriptors that it took.
  void post(uint64_t count);

 private:
  const std::unique_ptr<Transit>& at(uint64_t count) const { return slots_[count % slots_.size()]; }

  std::vector<std::unique_ptr<Transit>> slots_;
  uint64_t head_ = 0;    // taken by the host
  uint64_t tail_ = 0;    // filled by the NIC
  uint64_t posted_ = 0;  // posted by the host
};

}  // namespace xnic::nic
