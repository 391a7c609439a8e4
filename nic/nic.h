#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <systemc>
#include <vector>

#include "nic/interrupt.h"
#include "nic/mac.h"
#include "nic/offload_engine.h"
#include "nic/pcie.h"
#include "nic/profile.h"
#include "nic/resource.h"
#include "nic/ring.h"
#include "nic/rss.h"
#include "nic/rx_queue.h"
#include "nic/wheel.h"
#include "vm/result.h"

namespace xnic::nic {

enum class NicDrop : uint8_t { runt, oversize, rx_queue_full, no_descriptor };

// What the NIC asks of the system around it.
class NicClient {
 public:
  virtual ~NicClient() = default;
  // The next frame for a port, with `port` and `arrival`, the time at which it is offered, set;
  // null at the end. Times never decrease.
  virtual Result<std::unique_ptr<Transit>> next_frame() = 0;
  // Runs the program at xdp.offload, if there is one.
  virtual Offloaded offload(Transit& transit, Picoseconds now) = 0;
  // These take the packet back at the end of its way through the NIC.
  virtual void offload_dropped(std::unique_ptr<Transit> transit, Picoseconds now) = 0;
  virtual void lost(std::unique_ptr<Transit> transit, NicDrop reason, Picoseconds now) = 0;
  virtual void sent(std::unique_ptr<Transit> transit, Picoseconds now) = 0;
  // The interrupt handler of a queue starts now.
  virtual void interrupt(uint32_t queue) = 0;
};

struct NicOptions {
  // The port takes frames at their pace and drops what finds no room. Otherwise a frame waits
  // until there is room and a descriptor, and nothing is lost.
  bool lossy = false;
  uint32_t mtu = 0;    // bytes behind the Ethernet header; 0 is no limit
  uint32_t ports = 1;  // each with a MAC and receive queues of its own
};

// The card: ports with MAC, parser and RSS, and receive queues; and, shared by the ports, offload
// engine, DMA and PCIe; rings, interrupts, and the transmit path. Queues are counted through over
// the ports. Wheel and client must outlive it.
class Nic : public sc_core::sc_module {
 public:
  Nic(const sc_core::sc_module_name& name, const NicProfile& profile, const NicOptions& options,
      Wheel& wheel, NicClient& client);

  // Called before the simulation: takes frames from time 0 on.
  void start() { wheel_.at(0, pump_); }

  // The driver's side. Takes the oldest packet of the queue that is in memory by `now`, or null.
  std::unique_ptr<Transit> take(uint32_t queue, Picoseconds now);
  // Posts descriptors of packets that were taken.
  void post(uint32_t queue, uint64_t count);
  // Unmasks the interrupt. It fires at once for packets that are in memory already.
  void arm(uint32_t queue);
  // Sends a packet from host memory: doorbell (which carries the descriptor), DMA, MAC.
  void transmit(std::unique_ptr<Transit> transit, Picoseconds now);

  // What its parts did so far.
  std::vector<Resource> resources() const;

  uint32_t queues() const { return static_cast<uint32_t>(queues_.size()); }
  uint32_t queues_a_port() const { return queues_a_port_; }
  // What ended the source early, if anything did.
  const std::optional<Error>& error() const { return error_; }

 private:
  struct Queue {
    RxQueue memory;
    Ring ring;
    Interrupt interrupt;
    Wheel::Task fire;
    // Packets that each held, and for how long altogether.
    uint64_t held = 0;
    double memory_ps = 0;
    uint64_t taken = 0;
    double ring_ps = 0;
  };

  void pump();
  bool load_frame();
  bool receive();
  bool wait_for(Picoseconds start);
  Queue& queue_of(const Transit& transit) {
    return queues_[transit.port * queues_a_port_ + transit.packet.rx_queue_index];
  }
  void accept(std::unique_ptr<Transit> transit, const Mac::Slot& slot);
  void raise(Queue& queue, Picoseconds ready);
  // The packet is in the queue's memory from then to then.
  static void hold(Queue& queue, Picoseconds from, Picoseconds until);

  NicOptions options_;
  uint64_t completion_bytes_;
  Picoseconds parser_latency_;
  Wheel& wheel_;
  NicClient& client_;
  uint32_t queues_a_port_;
  std::vector<Mac> mac_rx_;  // by port
  std::vector<Mac> mac_tx_;
  Rss rss_;
  OffloadEngine engine_;
  Pcie pcie_;
  std::deque<Queue> queues_;
  Wheel::Task pump_;
  std::unique_ptr<Transit> held_;  // at the port, not yet accepted
  uint32_t last_port_ = 0;         // of the frame before
  bool stalled_ = false;           // held_ waits for a descriptor
  Picoseconds not_before_ = 0;     // when held_ may enter after a stall
  std::optional<Error> error_;
};

}  // namespace xnic::nic
