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
  Rss::Steering steering;   // its hash, and the queue of its port
  uint32_t port = 0;        // of the card: where it comes in, or is to leave
  uint32_t buffer = 0;      // in host memory, once it is there
  uint32_t tx_queue = 0;    // of what the host sends
  Picoseconds arrival = 0;  // first bit on the wire
  // Where it has come, 0 before that.
  Picoseconds received = 0;  // last bit on the wire
  Picoseconds ready = 0;     // in host memory, completion written
  Picoseconds taken = 0;     // by the driver's poll
  Picoseconds left = 0;      // the host's hands, to be sent
  // When parts of the model worked on it; no time at all where it never came to them.
  struct Service {
    Picoseconds begin = 0;
    Picoseconds end = 0;
  };
  Service wire;       // of the port, coming in
  Service engine;     // that ran the offloaded program
  Service to_host;    // PCIe
  Service from_host;  // PCIe
  Service wire_out;   // of the port, going out
  vm::Packet packet;  // filled when the card has taken the frame in
};

}  // namespace xnic::nic
