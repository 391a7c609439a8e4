#pragma once

#include <memory>
#include <string>

#include "nic/ports/dpdk_frames.h"
#include "vm/result.h"

namespace xnic::nic {

// Configures and starts the ethdev of this number for so many threads, with at most so many receive
// queues. `device` is what the user called it.
Result<std::unique_ptr<Port>> open_ethdev(uint16_t number, const std::string& device,
                                          rte_mempool* pool, uint32_t threads,
                                          uint32_t receive_queues);

}  // namespace xnic::nic
