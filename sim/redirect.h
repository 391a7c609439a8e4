#pragma once

#include <cstdint>
#include <vector>

#include "vm/invocation.h"
#include "vm/map.h"
#include "vm/network.h"
#include "vm/packet.h"
#include "vm/program_type.h"

// What follows from a redirect, apart from the hooks: targets, programs of map entries, and the
// Ethernet header of redirect_neigh.
// Test: tests/sim/redirect_test.cpp.
namespace xnic::sim {

// The interface at which what leaves by this one comes in; 0 where it leaves the machine.
uint32_t other_end(const vm::Network& network, uint32_t ifindex);

// Whether XDP may send a packet of this length (bytes) out of an interface.
bool takes_xdp(const vm::Network& network, uint32_t ifindex, uint32_t length);

// The entries that a broadcast reaches, in the map's order: those whose interface takes the packet
// and, if the flags say so, is not where it came in.
std::vector<vm::RedirectEntry> broadcast_targets(const vm::Network& network,
                                                 const vm::Redirect& redirect,
                                                 const vm::Packet& packet);

// Runs the program of a devmap or cpumap entry (none: pass). Adds to `instructions`. A fault
// aborts, and the environment is told.
vm::Action run_entry_program(const vm::RedirectEntry& entry, uint32_t egress_ifindex,
                             vm::Packet& packet, vm::Environment& environment,
                             vm::Redirect& redirect, uint64_t& instructions);

// Writes the Ethernet addresses of the next hop, as redirect_neigh has it. False where Linux drops
// the packet: no IP packet, no route, or a neighbour that does not answer.
bool address_to_neighbour(const vm::Network& network, const vm::Redirect& redirect,
                          vm::Packet& packet);

}  // namespace xnic::sim
