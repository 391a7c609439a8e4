#pragma once

#include <string>

#include "sim/json.h"
#include "sim/run.h"

// How busy the parts of a timed run were, and which of them held it up.
namespace xnic::sim {

// Whether it is a part that works.
bool is_server(const nic::Resource& resource);

// Of a server the share of the run that it worked, of a store that of its capacity that was taken,
// on average, of a wire that pause frames stop that of the run that it stood still; 0 to 1.
double utilisation(const nic::Resource& resource, uint64_t simulated_ns);

// One sentence: the part that limits what comes through, with the evidence.
std::string bottleneck(const RunSummary& summary);

// [ {"name", "kind", "served", "utilisation", "busy_ps" or "mean_packets" and "capacity"} ]
Json resources_to_json(const RunSummary& summary);

}  // namespace xnic::sim
