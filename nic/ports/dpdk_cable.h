#pragma once

#include <memory>
#include <string>
#include <utility>

#include "nic/ports/dpdk_frames.h"
#include "vm/result.h"

namespace xnic::nic {

// The two ends of a cable; see Dpdk::cable.
Result<std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>>> make_cable(const std::string& name,
                                                                           rte_mempool* pool,
                                                                           uint32_t threads);

}  // namespace xnic::nic
