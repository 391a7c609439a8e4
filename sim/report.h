#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/attachment.h"
#include "sim/json.h"
#include "sim/run.h"

namespace xnic::sim {

// What a run says at its end; the table and the JSON are two views of it.
struct Report {
  std::string command;  // as typed
  std::string engine;   // "jit", "interpreter"
  std::string nic;      // name of the profile
  bool timed = true;
  std::string clock = "the capture's own clock (--untimed)";  // of what is not timed
  uint64_t seed = 0;
  struct Capture {
    std::string interface;  // where it comes in
    std::string path;
    uint64_t packets = 0;
    uint64_t bytes = 0;
  };
  std::vector<Capture> captures;  // at least one
  std::string filter;
  RunSummary summary;
  std::vector<std::string> warnings;
  double wall_seconds = 0;  // of the replay; loading is not counted
};

Json to_json(const Report& report, const Attachments& attachments);
// For people: verdicts by hook, drops, where packets went, simulated time.
std::string to_table(const Report& report, const Attachments& attachments);

}  // namespace xnic::sim
