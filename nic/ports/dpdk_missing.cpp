// Stands in where xnic is built without DPDK.
#include "nic/ports/dpdk.h"

namespace xnic::nic {

Result<std::unique_ptr<Dpdk>> Dpdk::start(const DpdkOptions&) {
  return fail(ExitCode::not_available,
              "this xnic was built without DPDK; install libdpdk-dev and build anew");
}

}  // namespace xnic::nic
