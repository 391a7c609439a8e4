#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "nic/port.h"
#include "nic/ports/dpdk.h"
#include "vm/result.h"

namespace xnic::sim {

// The ports of a line by the words that name them: "dpdk:DEVICE", "cable:NAME/0".
class LinePorts {
 public:
  // Starts DPDK for all of them, its options but for the devices given. Errors: usage for what
  // names no port, and DPDK's.
  static Result<LinePorts> start(const std::vector<std::string>& names, nic::DpdkOptions options);

  // Opens a port, or gives the one that is open already.
  Result<nic::Port*> open(const std::string& name, uint32_t receive_queues);
  nic::Dpdk& dpdk() { return *dpdk_; }

 private:
  std::unique_ptr<nic::Dpdk> dpdk_;
  std::map<std::string, std::unique_ptr<nic::Port>> ports_;
};

}  // namespace xnic::sim
