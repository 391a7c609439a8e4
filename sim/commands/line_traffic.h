#pragma once

#include <atomic>
#include <string>

#include "sim/commands/line_arguments.h"
#include "sim/json.h"
#include "sim/line_check.h"
#include "sim/line_ports.h"
#include "vm/result.h"

namespace xnic::sim {

// What --generate gave.
struct TrafficReport {
  Json json;
  std::string table;
  bool as_predicted = true;  // --check
};

// Sends the traffic of the command line, or searches by it, on a thread of its own. `thread`: its
// number at the ports; `cpu`: where it runs, negative for anywhere. `check` may be null. `stop`
// ends it early.
Result<TrafficReport> run_traffic(const LineArguments& arguments, LinePorts& ports, nic::Port& tx,
                                  nic::Port& rx, int cpu, LineCheck* check,
                                  const std::atomic<bool>& stop);

}  // namespace xnic::sim
