// The names of drop reasons, one row each.
// Test: tests/sim/path_test.cpp.
#include "sim/outcome.h"

namespace xnic::sim {

std::string_view drop_reason_name(DropReason reason) {
  static constexpr std::array<std::string_view, kDropReasons> kNames = {
      "none",        "runt",          "oversize", "rx_queue_full", "no_descriptor", "xdp_drop",
      "xdp_aborted", "xdp_redirect",  "tc_shot",  "tc_consumed",   "tc_redirect",   "tc_fault",
      "mtu",         "not_forwarded", "loop",     "tx_queue_full", "no_port",       "cpumap_full"};
  return kNames[static_cast<size_t>(reason)];
}

}  // namespace xnic::sim
