#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nic/rss.h"
#include "sim/interface_hooks.h"
#include "sim/outcome.h"
#include "sim/path.h"
#include "sim/run.h"
#include "traces/player.h"
#include "vm/packet.h"

namespace xnic::sim {

// A packet of an untimed run, from the capture to the sink. Used again and again.
struct Journey {
  // A packet beside it that left an interface on the way (Path::CopySent).
  struct Copy {
    std::unique_ptr<vm::Packet> packet;
    uint32_t ifindex;
    uint64_t time_ps;
  };

  vm::Packet packet;
  Outcome outcome;
  std::vector<Copy> copies;
};

// A thread's share of an untimed run: CPUs of the machine with all that they need to run programs.
// Two lanes share programs and maps, which bear it, and nothing else.
class Lane {
 public:
  // The hooks must outlive the lane. A lane that shares the machine with others has no timers, and
  // leaves copies that packets send in their journeys, for one who has all packets in order.
  // `wanted`: somebody looks at outcomes and copies.
  Lane(InterfaceHooks hooks, const RunOptions& options, bool shares, bool wanted);

  // A frame enters at an interface, by a queue of the card.
  static void enter(const traces::Frame& frame, const nic::Rss::Steering& steering,
                    uint32_t ifindex, Journey& journey);

  // Runs the packets, in this order, to the ends of their ways; `ended` is told of each.
  template <class Ended>
  void run(std::span<Journey* const> burst, Ended ended) {
    prefetch(burst);
    std::optional<Path::Arrivals> arrivals;
    for (Journey* journey : burst) {
      const uint32_t ifindex = journey->outcome.in_ifindex;
      if (!arrivals || arrivals->ifindex() != ifindex) arrivals.emplace(path_, ifindex, network_);
      run_one(*journey, *arrivals);
      ended(*journey);
    }
  }
  const Tally& tally() const { return tally_; }

 private:
  void prefetch(std::span<Journey* const> burst);
  void run_one(Journey& journey, Path::Arrivals& arrivals);

  uint32_t mtu_;
  const vm::Network& network_;
  bool has_timers_;
  bool has_engine_;  // a program runs on the card
  Environments environments_;
  Path path_;
  Tally tally_;
  Journey* running_ = nullptr;
  std::vector<vm::Hook::Waiting> waiting_;
};

}  // namespace xnic::sim
