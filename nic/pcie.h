#pragma once

#include <cstdint>

#include "nic/profile.h"
#include "nic/resource.h"
#include "nic/time.h"

namespace xnic::nic {

// The PCIe link between NIC and host memory: latency, bandwidth in each direction, and the bytes
// that transaction layer packets (TLPs) add, after Neugebauer et al., "Understanding PCIe
// performance for end host networking", SIGCOMM 2018.
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

  // The NIC writes to host memory: posted, `done` when the CPU can see it.
  Transfer write(Picoseconds now, uint64_t bytes);
  // The NIC reads host memory: `done` when the last byte is in the NIC.
  Transfer read(Picoseconds now, uint64_t bytes);
  // The CPU writes a register of the NIC; gives when the NIC sees it.
  Picoseconds doorbell(Picoseconds now);

  // Transfers so far, by the direction of their packets.
  const Work& to_host() const { return to_host_; }
  const Work& to_nic() const { return to_nic_; }

 private:
  uint64_t max_payload_;
  uint64_t max_read_request_;
  uint64_t write_header_;
  uint64_t request_header_;
  uint64_t completion_header_;
  LinkRate rate_;
  Picoseconds write_latency_;
  Picoseconds read_latency_;
  Picoseconds writes_free_ = 0;
  Picoseconds requests_free_ = 0;
  Picoseconds to_nic_free_ = 0;
  Work to_host_;
  Work to_nic_;
};

}  // namespace xnic::nic
