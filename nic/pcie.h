#pragma once

#include <algorithm>
#include <cstdint>

#include "nic/credits.h"
#include "nic/iommu.h"
#include "nic/profile.h"
#include "nic/resource.h"
#include "nic/time.h"

namespace xnic::nic {

// The PCIe link between NIC and host memory, and the root complex at its other end: latency,
// bandwidth in each direction, the bytes that transaction layer packets (TLPs) and data link
// packets add, after Neugebauer et al., "Understanding PCIe performance for end host networking",
// SIGCOMM 2018; credits, tags and address translation.
class Pcie {
 public:
  explicit Pcie(const NicProfile& profile);

  struct Transfer {
    Picoseconds begun;  // the first TLP of the data is on the link
    Picoseconds left;   // the last TLP has left its sender
    Picoseconds done;   // the data is where it was to go
  };

  // Gb/s left for TLPs, after line code and data link layer.
  double transaction_gbps() const { return rate_.gbps(); }

  // Bytes on the link, headers included, to move `bytes`.
  uint64_t write_bytes(uint64_t bytes) const;            // towards the host
  uint64_t read_request_bytes(uint64_t bytes) const;     // towards the host
  uint64_t read_completion_bytes(uint64_t bytes) const;  // towards the NIC

  // The NIC writes to host memory, within a page: posted, `done` when the CPU can see it.
  Transfer write(Picoseconds now, uint64_t bytes, uint64_t address = 0) {
    if (bytes == 0) return {now, now, now};
    if (bytes <= max_payload_) return write_tlp(now, bytes, address);
    return write_tlps(now, bytes, address);
  }
  // The NIC reads from a page: `done` when the last byte is in the NIC. `memory`: how much longer
  // than in a cache that is.
  Transfer read(Picoseconds now, uint64_t bytes, uint64_t address = 0, Picoseconds memory = 0);
  // The CPU writes a register of the NIC; gives when the NIC sees it.
  Picoseconds doorbell(Picoseconds now);
  // Transfers beside the packets' own, which slip in between: the NIC reads descriptors (gives when
  // they are there), writes completions of what it sent, and interrupts.
  Picoseconds fetch(Picoseconds now, uint64_t bytes);
  void write_back(uint64_t bytes);
  void message() { write_back(kRegisterBytes); }

  // Requests, writes and completions so far, by their direction.
  const Work& to_host() const { return to_host_; }
  const Work& to_nic() const { return to_nic_; }

 private:
  static constexpr uint64_t kRegisterBytes = 4;
  static constexpr uint64_t kCreditBytes = 16;  // base specification: of posted data

  // One direction. What is short and of another order (requests, doorbells) slips in between: where
  // the wire is idle, or else at most as much in front of each transfer as that takes itself.
  class Wire {
   public:
    // When it begins.
    Picoseconds pass(Picoseconds now, Picoseconds time) {
      Picoseconds begun = std::max(now, free_);
      if (slipped_ != 0) {
        slipped_ -= std::min(slipped_, begun - free_);
        const Picoseconds slips = std::min(slipped_, time);
        slipped_ -= slips;
        begun += slips;
      }
      free_ = begun + time;
      return begun;
    }
    void slip(Picoseconds time) { slipped_ += time; }

   private:
    Picoseconds free_ = 0;
    Picoseconds slipped_ = 0;
  };

  // Twice for every packet.
  [[gnu::always_inline]] inline Transfer write_tlp(Picoseconds now, uint64_t payload,
                                                   uint64_t address) {
    const auto credits = static_cast<uint32_t>((payload + kCreditBytes - 1) / kCreditBytes);
    const Picoseconds time = rate_.time(payload + write_header_);
    const Picoseconds begun = wire_to_host_.pass(posted_.take(now, credits), time);
    const Picoseconds left = begun + time;
    const Picoseconds known = iommu_.translate(left, address);
    written_ = std::max(written_, known + write_latency_);
    posted_.hold(known + credit_latency_);
    to_host_.add(time);
    return {begun, left, written_};
  }
  Transfer write_tlps(Picoseconds now, uint64_t bytes, uint64_t address);

  uint64_t max_payload_;
  uint64_t max_read_request_;
  uint64_t max_completion_;
  uint64_t write_header_;
  uint64_t request_header_;
  uint64_t completion_header_;
  LinkRate rate_;
  double staging_ps_;  // a byte
  Picoseconds write_latency_;
  Picoseconds read_latency_;
  Picoseconds credit_latency_;
  Credits posted_;
  Credits tags_;
  Iommu iommu_;
  Wire wire_to_host_;
  Wire wire_to_nic_;
  Picoseconds requests_free_ = 0;
  Picoseconds written_ = 0;  // the last write is in memory
  Work to_host_;
  Work to_nic_;
};

}  // namespace xnic::nic
