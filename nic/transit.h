#pragma once

#include <cstdint>

#include "nic/rss.h"
#include "nic/time.h"
#include "traces/player.h"
#include "vm/packet.h"

namespace xnic::nic {

// When a part of the model worked on something.
struct Service {
  Picoseconds begin = 0;
  Picoseconds end = 0;
};

// A frame at a port of the card, which takes it in or loses it.
struct Arrival {
  const traces::Frame& frame;
  uint32_t port;
  Picoseconds time;        // first bit on the wire, if that had been free
  Service wire;            // of the port
  Picoseconds received;    // last bit on the wire; 0 where the MAC lost it
  Rss::Steering steering;  // its hash, and the queue of its port
};

// A packet on its way through NIC and host. Whoever holds the pointer owns the packet; the system
// around the NIC derives from it to keep its own record of the packet.
struct Transit {
  virtual ~Transit() = default;

  // Of a frame that the card takes in: all that is known of it so far.
  void come(const Arrival& from) {
    port = from.port;
    queue = from.steering.queue;
    buffer = tx_queue = 0;
    arrival = from.time;
    received = from.received;
    ready = taken = left = 0;
    wire = from.wire;
    engine = to_host = from_host = wire_out = {};
  }

  uint32_t port = 0;        // of the card: where it comes in, or is to leave
  uint32_t queue = 0;       // of the port where it came in
  uint32_t buffer = 0;      // in host memory, once it is there
  uint32_t tx_queue = 0;    // of what the host sends
  Picoseconds arrival = 0;  // first bit on the wire
  // Where it has come, 0 before that.
  Picoseconds received = 0;  // last bit on the wire
  Picoseconds ready = 0;     // in host memory, completion written
  Picoseconds taken = 0;     // by the driver's poll
  Picoseconds left = 0;      // the host's hands, to be sent
  // What worked on it when; no time at all where it never came to that.
  Service wire;       // of the port, coming in
  Service engine;     // that ran the offloaded program
  Service to_host;    // PCIe
  Service from_host;  // PCIe
  Service wire_out;   // of the port, going out
  vm::Packet packet;
};

}  // namespace xnic::nic
