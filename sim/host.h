#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <array>
#include <deque>
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
  // Memory for it, laid out as vm::Packet has it: where DMA would put it.
  alignas(64) std::array<uint8_t, vm::kFrameSize> page;
  Outcome outcome;
  uint32_t in_port = 0;  // where it came in
};

// What the host asks of the system around it.
class HostClient {
 public:
  virtual ~HostClient() = default;
  // Takes a packet whose way ends in the host.
  virtual void ended(std::unique_ptr<nic::Transit> transit) = 0;
};

// The host's receive path: interrupt, NAPI poll, and the hooks on the CPU of the queue.
class Host : public sc_core::sc_module {
 public:
  // `ports` has the interface of each port of the card. With `exact`, each packet of a poll is an
  // event. All references must outlive the host.
  Host(const sc_core::sc_module_name& name, const nic::NicProfile& profile,
       const InterfaceHooks& hooks, Environments& environments, nic::Wheel& wheel, nic::Nic& nic,
       nic::HostMemory& memory, const std::vector<uint32_t>& ports, bool exact, HostClient& client);

  // The driver's, to the card's registers.
  tlm_utils::simple_initiator_socket<Host> registers;

  Path& path() { return path_; }
  // Called before the simulation, when all programs are attached.
  void start();
  // The CPUs, and how long polls kept each.
  std::vector<nic::Resource> resources() const;
  // The interrupt handler of a queue starts now.
  void interrupt(uint32_t queue);

 private:
  // A CPU, which polls the queues of its list in turn.
  struct Cpu {
    uint32_t number = 0;
    nic::Wheel::Task go_on = 0;
    std::deque<uint32_t> poll_list;
    // Of the running poll.
    bool polls = false;
    bool over = false;  // it ends when the clock gets there
    uint32_t queue = 0;
    nic::Picoseconds begun = 0;
    nic::Picoseconds clock = 0;  // ahead of the wheel's
    uint32_t taken = 0;          // descriptors, posted at its end
    uint32_t placed = 0;         // packets to send (XDP_TX and the like), told at its end
    nic::Work work;
  };

  void begin_poll(Cpu& cpu);
  void go_on(Cpu& cpu);
  void end_poll(Cpu& cpu);
  void write(uint32_t offset, uint32_t value);
  void process(Cpu& cpu, std::unique_ptr<nic::Transit> transit);

  nic::Picoseconds poll_cost_;
  nic::Picoseconds packet_cost_;
  nic::Picoseconds instruction_cost_;  // of timers
  uint32_t weight_;
  Path path_;
  Environments& environments_;
  nic::Wheel& wheel_;
  nic::Nic& nic_;
  nic::HostMemory& memory_;
  std::vector<uint32_t> ports_;
  HostClient& client_;
  bool exact_;
  std::vector<Path::Xdp> xdp_;       // natively, by port
  tlm::tlm_generic_payload access_;  // of registers
  std::vector<uint32_t> cpu_of_queue_;
  std::vector<Cpu> cpus_;
  std::vector<uint32_t> rx_tails_;  // by queue
  std::vector<uint32_t> tx_tails_;
};

}  // namespace xnic::sim
