#pragma once

#include <memory>
#include <string>

#include "nic/ports/dpdk_frames.h"
#include "vm/result.h"

namespace xnic::nic {

struct EthdevOptions {
  uint32_t threads;         // that will use it
  uint32_t receive_queues;  // at most
  bool strip_vlan_tags;     // refused where it cannot
};

// Configures and starts the ethdev of this number. `device` is what the user called it.
Result<std::unique_ptr<Port>> open_ethdev(uint16_t number, const std::string& device,
                                          rte_mempool* pool, const EthdevOptions& options);

}  // namespace xnic::nic
