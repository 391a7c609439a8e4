#pragma once

#include <tlm.h>
#include <tlm_utils/simple_initiator_socket.h>
#include <deque>
#include <memory>
#include <optional>
#include <systemc>
#include <vector>

#include "nic/bar.h"
#include "nic/descriptor_cache.h"
#include "nic/host_memory.h"
#include "nic/interrupt.h"
#include "nic/mac.h"
#include "nic/offload_engine.h"
#include "nic/pcie.h"
#include "nic/profile.h"
#include "nic/resource.h"
#include "nic/ring.h"
#include "nic/rss.h"
#include "nic/rx_queue.h"
#include "nic/transit.h"
#include "nic/tx_scheduler.h"
#include "nic/wheel.h"
#include "vm/result.h"

namespace xnic::nic {

enum class NicDrop : uint8_t { runt, oversize, rx_queue_full, no_descriptor };

// What the NIC asks of the system around it.
class NicClient {
 public:
  virtual ~NicClient() = default;
  // The next frames for the ports; none at the end. Times never decrease. The bytes live until the
  // next call.
  virtual Result<std::span<const traces::Frame>> next_frames() = 0;
  // The card takes a frame in: gives its packet.
  virtual std::unique_ptr<Transit> taken_in(const Arrival& arrival) = 0;
  // It does not.
  virtual void refused(const Arrival& arrival, NicDrop reason, Picoseconds now) = 0;
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
  // Each frame, and each step of the way out, is an event. Otherwise the port runs ahead of the
  // clock in bursts, and the way out is arithmetic.
  bool exact = false;
  bool offloads = true;  // a program may be at xdp.offload
  bool hashes = true;    // somebody sees the hash of a packet, even where it chooses no queue
  std::vector<uint32_t> port_of_source = {0};  // by traces::Frame::source
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
  // `now` may be ahead of the clock.
  std::unique_ptr<Transit> take(uint32_t queue, Picoseconds now);
  // Nothing will be posted to the queue before then: frames that end earlier need not wait for the
  // clock to know that they find no descriptor.
  void will_post(uint32_t queue, Picoseconds time) { queues_[queue].next_post = time; }
  // Puts a packet into a transmit ring, by the queue's number; it leaves when the tail says so.
  void place(uint32_t queue, std::unique_ptr<Transit> transit);

  // To host memory, which has this many buffers.
  tlm_utils::simple_initiator_socket<Nic> dma;
  size_t buffers() const { return queues_.size() * queues_.front().ring.capacity(); }

  // What writes to registers do (nic/bar.h), which the driver reaches by `bar`.
  Bar bar;
  // Posts descriptors of packets that were taken.
  void post(uint32_t queue, uint64_t count);
  uint32_t rx_tail(uint32_t queue) const { return queues_[queue].rx_tail; }
  void set_rx_tail(uint32_t queue, uint32_t tail) { post(queue, tail - rx_tail(queue)); }
  // Sends what is in the transmit ring: descriptors, DMA, MAC.
  uint32_t tx_tail(uint32_t queue) const { return queues_[queue].tx_tail; }
  void set_tx_tail(uint32_t queue, uint32_t tail);
  // Unmasks the interrupt. It fires at once for packets that are in memory already.
  void arm(uint32_t queue);

  // What its parts did so far.
  std::vector<Resource> resources() const;

  uint32_t ports() const { return static_cast<uint32_t>(intakes_.size()); }
  uint32_t queues() const { return static_cast<uint32_t>(queues_.size()); }
  uint32_t queues_a_port() const { return queues_a_port_; }
  // What ended the source early, if anything did.
  const std::optional<Error>& error() const { return error_; }

 private:
  // Where the completion entries of all buffers begin.
  static constexpr uint64_t kCompletions = uint64_t{1} << 52;
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Queue {
    uint32_t first_buffer;
    RxQueue memory;
    Ring ring;
    DescriptorCache descriptors;
    Interrupt interrupt;
    Wheel::Task fire;
    Picoseconds next_post = 0;  // at the earliest
    // Packets that each held, and for how long altogether.
    uint64_t held = 0;
    double memory_ps = 0;
    uint64_t taken = 0;
    double ring_ps = 0;
    uint32_t rx_tail = 0;
    std::vector<std::unique_ptr<Transit>> to_send{};  // in the transmit ring
    uint32_t tx_tail = 0;
  };
  // The other end of a port's wire, as IEEE 802.3 annex 31B lets the card hold it up.
  struct Pause {
    uint64_t frames = 0;
    Picoseconds since = 0;  // of one that goes on
    Picoseconds paused = 0;
  };
  // Where the frames of a port come in.
  struct Intake {
    explicit Intake(double link_gbps) : mac(link_gbps) {}

    Mac mac;
    Pause pause;
    uint32_t stalled_on = kNone;  // a queue, that needs a descriptor
    Picoseconds not_before = 0;   // when the last one came in that had to wait for room
    // At the other end of the wire, while those of other ports go on.
    struct Waiting {
      explicit Waiting(const traces::Frame& from)
          : bytes(from.bytes.begin(), from.bytes.end()), frame(from) {
        frame.bytes = bytes;
      }
      std::vector<uint8_t> bytes;
      traces::Frame frame;
    };
    std::deque<Waiting> waiting{};
  };
  // What waits in the card for a port's wire, where it does not leave in the order of its DMA.
  struct Departure {
    TxScheduler scheduler;
    Wheel::Task serve;
    Picoseconds free_at = 0;
  };

  void pump();
  void advance();
  Picoseconds take_in_waiting();
  bool load_frames();
  Picoseconds receive(const traces::Frame& frame, uint32_t port);
  void wait_until(Picoseconds time);
  // How far the port may be ahead of the clock.
  Picoseconds horizon() const;
  bool may_wait() const { return !options_.lossy || pauses_; }
  void pause(uint32_t port, Picoseconds from);
  Picoseconds resume(uint32_t port, Picoseconds now);
  void accept(const Arrival& arrival, Queue& queue);
  void raise(Queue& queue, Picoseconds ready) {
    if (const auto handler = queue.interrupt.raise(ready)) wheel_.at(*handler, queue.fire);
  }
  // A packet's next step, at that time.
  using Step = void (Nic::*)(std::unique_ptr<Transit>, Picoseconds now);
  void go_on(std::unique_ptr<Transit> transit, Picoseconds time, Step step);
  // The same, always by an event.
  void later(std::unique_ptr<Transit> transit, Picoseconds time, Step step);
  void take_step();
  void read_from_host(std::unique_ptr<Transit> transit, Picoseconds now);
  void send(std::unique_ptr<Transit> transit, Picoseconds now);
  void line_up(std::unique_ptr<Transit> transit, Picoseconds now);
  void serve(uint32_t port);
  // Reads a packet from a buffer; gives what memory takes longer than a cache.
  Picoseconds read_memory(Picoseconds now, uint32_t buffer, const vm::Packet& packet);
  // Tells memory of what was written since the last time.
  void write_memory();
  static uint64_t address_of(uint32_t buffer) { return buffer * HostMemory::kBufferBytes; }
  uint64_t address_of_completion(uint32_t buffer) const {
    return kCompletions + buffer * completion_bytes_;
  }
  // The packet is in the queue's memory from then to then.
  static void hold(Queue& queue, Picoseconds from, Picoseconds until) {
    ++queue.held;
    queue.memory_ps += to_double(queue.memory.hold(until) - from);
  }

  NicOptions options_;
  bool pauses_;
  Picoseconds pause_reaction_;
  TxPolicy tx_policy_;
  uint64_t completion_bytes_;
  uint64_t tx_descriptor_bytes_;
  uint32_t tx_fetch_;  // descriptors a read; 0: doorbells carry them
  uint32_t tx_write_back_;
  uint64_t tx_completion_bytes_;
  Picoseconds parser_latency_;
  Wheel& wheel_;
  NicClient& client_;
  uint32_t queues_a_port_;
  std::vector<Intake> intakes_;  // by port
  std::vector<Mac> mac_tx_;      // by port
  Rss rss_;
  bool steers_;  // queues or somebody need the hash
  OffloadEngine engine_;
  Pcie pcie_;
  // Of dma.
  tlm::tlm_generic_payload read_;
  tlm::tlm_generic_payload write_;
  DmaBurst written_;  // of which memory does not know yet
  std::vector<Queue> queues_;
  std::vector<Departure> departures_;  // by port
  uint32_t unreported_ = 0;            // packets that were sent since the last write-back
  Wheel::Task pump_;
  std::span<const traces::Frame> frames_;  // of the source, at the ports next
  bool exhausted_ = false;                 // the source is
  size_t waiting_ = 0;                     // frames, at all ports
  Picoseconds pump_at_ = 0;                // for when the ports have asked for the clock
  Picoseconds ahead_until_ = 0;            // they may run so far ahead

  struct Waiting {
    Picoseconds time;
    uint64_t order;
    std::unique_ptr<Transit> transit;
    Step step;
    bool operator>(const Waiting& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };
  Wheel::Task take_step_;
  std::vector<Waiting> steps_;  // std::push_heap order, earliest in front
  uint64_t step_order_ = 0;
  std::optional<Error> error_;
};

}  // namespace xnic::nic
