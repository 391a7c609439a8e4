#pragma once

#include <cstdint>

#include "nic/rss.h"
#include "nic/time.h"
#include "traces/player.h"
#include "vm/packet.h"

namespace xnic::nic {

// A packet on its way through NIC and host. Whoever holds the pointer owns the packet; the system
// around the NIC derives from it to keep its own record of the packet.
struct Transit {
  virtual ~Transit() = default;

  traces::Frame frame;      // as it came to the port; its bytes stay until the card has taken it in
  RssHash hash;             // of the frame
  uint32_t queue = 0;       // of its port, by the hash
  uint32_t port = 0;        // of the card: where it comes in, or is to leave
  Picoseconds arrival = 0;  // first bit on the wire
  // Where it has come, 0 before that.
  Picoseconds received = 0;  // last bit on the wire
  Picoseconds ready = 0;     // in host memory, completion written
  Picoseconds taken = 0;     // by the driver's poll
  Picoseconds left = 0;      // the host's hands, to be sent
  vm::Packet packet;         // filled when the card has taken the frame in
};

}  // namespace xnic::nic
