#pragma once

#include <cstdint>

#include "vm/network.h"
#include "vm/packet.h"

namespace xnic::sim {

// What Linux's IP layer does with a packet behind tc ingress.
struct Forwarding {
  enum class Fate : uint8_t {
    local,  // it is the machine's own, or nothing that the machine forwards
    sent,   // it leaves: hop limit, checksum and Ethernet addresses are those of its next hop
    lost,   // no route, no neighbour, no hops left, or too long for the way
  };
  Fate fate = Fate::local;
  uint32_t ifindex = 0;  // of Fate::sent: where it leaves
};

// Whether an interface forwards anything that comes in there.
bool forwards(const vm::Network& network, uint32_t ifindex);

// Forwards a packet that came in at packet.ifindex, if that interface forwards and the packet is
// for another machine.
Forwarding forward(const vm::Network& network, vm::Packet& packet);

}  // namespace xnic::sim
