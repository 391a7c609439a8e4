#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nic/port.h"
#include "vm/result.h"

namespace xnic::nic {

struct DpdkOptions {
  std::vector<std::string> devices;  // that will be opened: PCI devices are looked for at the start
  std::vector<std::string> eal;      // options of the environment (EAL), which win over ours
  uint32_t threads = 1;              // that will use ports
  // Devices take VLAN tags out of frames and tell them beside (Packet::rx_vlan).
  bool strip_vlan_tags = false;
};

// DPDK's environment, at most one a process. Ports must not outlive it.
class Dpdk {
 public:
  // Starts without hugepages where there are none; `note` says what that costs. Errors:
  // not_available where xnic was built without DPDK; bad_input with EAL's own words.
  static Result<std::unique_ptr<Dpdk>> start(const DpdkOptions& options);
  virtual ~Dpdk() = default;

  // An ethdev by PCI address, by the arguments of a virtual device ("net_pcap0,rx_pcap=FILE"), or
  // by the name of one that exists; ready to receive, by at most so many queues, and to send.
  // Error: bad_input, one sentence.
  virtual Result<std::unique_ptr<Port>> open(const std::string& device,
                                             uint32_t receive_queues) = 0;
  // The two ends of a cable within this process: what one sends, the other receives.
  virtual Result<std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>>> cable(
      const std::string& name) = 0;
  // Makes the calling thread one that may use ports, on this CPU alone, or anywhere if negative.
  virtual Result<void> enter_thread(int cpu) = 0;
  virtual void leave_thread() = 0;

  // A sentence for the user about its memory; may be empty.
  const std::string& note() const { return note_; }

 protected:
  std::string note_;
};

}  // namespace xnic::nic
