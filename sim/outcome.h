#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "vm/hook.h"
#include "vm/packet.h"

namespace xnic::sim {

// Why a packet was lost. The name is the key in every output.
enum class DropReason : uint8_t {
  none,
  runt,           // no whole Ethernet header: the MAC discards it
  oversize,       // longer than --mtu: the MAC discards it
  rx_queue_full,  // the NIC's queue had no room (only with --rate)
  no_descriptor,  // the host's ring had no free descriptor (only with --rate)
  xdp_drop,       // a program returned XDP_DROP
  xdp_aborted,    // XDP_ABORTED, an unknown code, or a fault
  xdp_redirect,   // XDP_REDIRECT without a usable target
  tc_shot,        // a program returned TC_ACT_SHOT
  tc_consumed,    // TC_ACT_STOLEN, TC_ACT_QUEUED, TC_ACT_TRAP
  tc_redirect,    // TC_ACT_REDIRECT without a usable target
  tc_fault,       // a tc program faulted
  mtu,            // longer than the interface takes at the other end of a veth pair
  not_forwarded,  // the stack had no route or neighbour for it, or it no hops left, or no room
  loop,           // came in again and again within the machine, where Linux would never end
  tx_queue_full,  // a port took nothing for too long (xnic line)
  no_port,        // left by an interface that is no port (xnic line)
  cpumap_full,    // the queue of a cpumap's entry had no room (xnic line)
};
inline constexpr size_t kDropReasons = 18;
std::string_view drop_reason_name(DropReason reason);  // "oversize", "xdp_drop", ...

// Where a packet's way ended.
enum class End : uint8_t { delivered, transmitted, dropped };
inline constexpr size_t kEnds = 3;

// One hook that the packet passed.
struct HookEvent {
  vm::HookPoint hook;
  const vm::Program* program;
  vm::HookResult result;
  uint64_t time_ps;  // simulated time at which the program had run
  uint32_t ifindex;  // whose hook it is
  bool copy;         // it was a copy of the packet that passed here
};

// The whole story of one packet.
struct Outcome {
  uint64_t packet_id = 0;  // 1 for the first packet of the capture
  uint64_t arrival_ps = 0;
  uint64_t end_ps = 0;
  uint32_t queue = 0;
  uint32_t in_ifindex = 0;   // where the packet came in
  uint32_t out_ifindex = 0;  // of End::transmitted: the interface that it left by
  End end = End::delivered;
  DropReason reason = DropReason::none;  // only of End::dropped
  std::vector<HookEvent> events;         // in the packet's order, those of its copies among them
  // What became of the copies that programs made of the packet, by End.
  std::array<uint32_t, kEnds> copies{};
};

// Receives each packet once, when the end of its way is certain, with its final bytes and the
// time of that end. In the timed model the calls need be neither in the capture's order nor in that
// of the ends.
class OutcomeSink {
 public:
  virtual ~OutcomeSink() = default;
  virtual void done(const vm::Packet& packet, const Outcome& outcome) = 0;
  // Whether it looks at each packet; if not, an untimed run need not tell it of any.
  virtual bool wants_packets() const { return true; }
};

// Keeps nothing: for runs of which only the sums count.
class NoSink : public OutcomeSink {
 public:
  void done(const vm::Packet&, const Outcome&) override {}
  bool wants_packets() const override { return false; }
};

using Hooks = vm::Hooks;

}  // namespace xnic::sim
