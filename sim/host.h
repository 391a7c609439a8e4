#pragma once

#include <functional>
#include <memory>
#include <systemc>
#include <vector>

#include "nic/nic.h"
#include "nic/wheel.h"
#include "sim/outcome.h"
#include "sim/path.h"
#include "sim/run.h"

namespace xnic::sim {

// A packet in the timed system, with its story.
struct Traveller : nic::Transit {
  Outcome outcome;
};

// The host's receive path: interrupt, NAPI poll, and the hooks on the CPU of the queue.
class Host : public sc_core::sc_module {
 public:
  // Takes the packets whose way ends in the host.
  using Ended = std::function<void(std::unique_ptr<nic::Transit>)>;

  // `ports` has the interface of each port of the card. All references must outlive the host.
  Host(const sc_core::sc_module_name& name, const nic::NicProfile& profile,
       const InterfaceHooks& hooks, Environments& environments, nic::Wheel& wheel, nic::Nic& nic,
       const std::vector<uint32_t>& ports, Ended ended);

  Path& path() { return path_; }
  // The CPUs, and how long polls kept each.
  std::vector<nic::Resource> resources() const;
  // The interrupt handler of a queue starts now.
  void interrupt(uint32_t queue);

 private:
  struct Queue {
    uint32_t cpu = 0;
    nic::Wheel::Task poll = 0;
    uint64_t taken = 0;  // descriptors of the running poll, posted at its end
    std::vector<std::unique_ptr<nic::Transit>> to_send;  // XDP_TX and the like, of that poll
  };

  void poll(uint32_t index);
  void finish_poll(uint32_t index);
  nic::Picoseconds process(Queue& queue, std::unique_ptr<nic::Transit> transit,
                           nic::Picoseconds now);

  nic::Picoseconds poll_cost_;
  nic::Picoseconds packet_cost_;
  nic::Picoseconds instruction_cost_;  // of timers
  uint64_t weight_;
  Path path_;
  Environments& environments_;
  nic::Wheel& wheel_;
  nic::Nic& nic_;
  std::vector<uint32_t> ports_;
  Ended ended_;
  std::vector<Queue> queues_;
  struct Cpu {
    nic::Picoseconds busy_until = 0;
    nic::Work polls;
  };
  std::vector<Cpu> cpus_;
};

}  // namespace xnic::sim
