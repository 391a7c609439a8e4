#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "nic/resource.h"
#include "nic/time.h"
#include "vm/packet.h"

namespace xnic::nic {

// IEEE 802.3: what the wire carries beside the frame of a capture.
inline constexpr uint32_t kPreambleBytes = 8;    // preamble and start delimiter
inline constexpr uint32_t kFrameCheckBytes = 4;  // captures hold frames without it
inline constexpr uint32_t kInterPacketBytes = 12;
inline constexpr uint32_t kMinimumFrame = 64;  // with frame check; shorter ones are padded

enum class FrameCheck : uint8_t {
  good,
  runt,      // no whole Ethernet header
  oversize,  // payload longer than the MTU
};

// Whether a frame that begins so has a VLAN tag.
bool has_vlan_tag(std::span<const uint8_t> head);

// Whether a MAC takes a frame of `length` bytes that begins with `head`. `mtu` limits the bytes
// behind the Ethernet header and one VLAN tag, as Linux counts it; 0 is no limit.
inline FrameCheck check_frame(std::span<const uint8_t> head, uint32_t length, uint32_t mtu) {
  if (length < vm::kEthernetHeader) return FrameCheck::runt;
  const uint64_t limit = uint64_t{mtu} + vm::kEthernetHeader;
  if (mtu == 0 || length <= limit) return FrameCheck::good;
  return has_vlan_tag(head) && length <= limit + vm::kVlanTag ? FrameCheck::good
                                                              : FrameCheck::oversize;
}

// One direction of a MAC: a wire that carries one frame at a time.
class Mac {
 public:
  explicit Mac(double link_gbps) : rate_(link_gbps) {}

  struct Slot {
    Picoseconds start;  // first bit of the preamble
    Picoseconds end;    // last bit of the frame check
  };

  // From preamble to the end of the gap that must follow.
  Picoseconds wire_time(uint32_t frame_bytes) const {
    return rate_.time(kPreambleBytes + on_wire(frame_bytes) + kInterPacketBytes);
  }
  // When a frame that is there at `ready` would pass the wire.
  Slot next(Picoseconds ready, uint32_t frame_bytes) const {
    const Picoseconds start = std::max(ready, free_at_);
    return {start, start + rate_.time(kPreambleBytes + on_wire(frame_bytes))};
  }
  // Takes the wire for a frame that begins then, at the earliest when it is free.
  void occupy(Picoseconds start, uint32_t frame_bytes) {
    const Picoseconds time = wire_time(frame_bytes);
    free_at_ = start + time;
    work_.add(time);
  }
  // Both.
  Slot pass(Picoseconds ready, uint32_t frame_bytes) {
    const Slot slot = next(ready, frame_bytes);
    occupy(slot.start, frame_bytes);
    return slot;
  }
  // When the last one that passed, and its gap, are over.
  Picoseconds free_at() const { return free_at_; }
  // Frames that passed, gaps behind them included.
  const Work& work() const { return work_; }

 private:
  static uint32_t on_wire(uint32_t frame_bytes) {
    return std::max(frame_bytes + kFrameCheckBytes, kMinimumFrame);
  }

  LinkRate rate_;
  Picoseconds free_at_ = 0;
  Work work_;
};

}  // namespace xnic::nic
