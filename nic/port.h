#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "vm/network.h"
#include "vm/packet.h"

namespace xnic::nic {

// A frame in a port's memory. What it is, only the port knows.
struct PortFrame;

struct PortFacts {
  std::string name;    // "net_pcap0"
  std::string driver;  // "net_pcap"
  vm::MacAddress mac{};
  uint32_t mtu = 1500;  // bytes behind the Ethernet header
  uint32_t receive_queues = 1;
  bool spreads = false;  // the device itself spreads flows over its queues
  bool ends = false;     // it reads files, and when it gives nothing, nothing will come any more
  int numa_node = -1;    // -1: none, or not known
};

// Of the port's life, as the device counts.
struct PortCounters {
  uint64_t received = 0;  // frames
  uint64_t received_bytes = 0;
  uint64_t sent = 0;
  uint64_t sent_bytes = 0;
  uint64_t missed = 0;     // no descriptor was free
  uint64_t no_memory = 0;  // no buffer was
  uint64_t receive_errors = 0;
  uint64_t send_errors = 0;
};

struct PortLink {
  bool up = false;
  uint32_t mbps = 0;  // 0: not known
};

// Where frames of a real machine enter and leave, in bursts. Threads are numbered from 0, fewer
// than the port was opened for; two may be in its functions at once, with numbers and receive
// queues of their own.
class Port {
 public:
  virtual ~Port() = default;
  const PortFacts& facts() const { return facts_; }

  // Takes what has come to a receive queue, at most as many as `frames` holds.
  virtual size_t receive(uint32_t queue, std::span<PortFrame*> frames) = 0;
  // Makes each frame a packet, in the frame's memory where its layout permits. Sets the fields that
  // the device knows: rx_hash, rx_hash_type, rx_vlan, rx_timestamp_ns.
  virtual void wrap(std::span<PortFrame* const> frames, std::span<vm::Packet* const> packets) = 0;
  // Queues the packet, which was made of this frame, for sending, and takes the frame.
  virtual void send(uint32_t thread, PortFrame* frame, const vm::Packet& packet) = 0;
  // The same for a burst of them.
  virtual void send(uint32_t thread, std::span<PortFrame* const> frames,
                    std::span<vm::Packet* const> packets) = 0;
  // The same for a frame as it is.
  virtual void send(uint32_t thread, PortFrame* frame) = 0;
  // Sends what was queued since the last call. Gives how many frames found no room and were freed.
  virtual size_t flush(uint32_t thread) = 0;

  // A new frame of this length, at most vm::kLinearSize, whose bytes are to be written; null when
  // memory is exhausted.
  virtual PortFrame* make(uint32_t length) = 0;
  // The frame's bytes, but for those past the first segment of a jumbo frame.
  virtual std::span<uint8_t> bytes(PortFrame* frame) = 0;
  virtual void free(std::span<PortFrame* const> frames) = 0;

  virtual PortCounters counters() const = 0;
  virtual PortLink link() const = 0;

 protected:
  PortFacts facts_;
};

}  // namespace xnic::nic
