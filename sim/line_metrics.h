#pragma once

#include <span>
#include <string>

#include "nic/port.h"
#include "sim/line.h"

namespace xnic::sim {

// The counters of a line and its ports since the start, in the text format of Prometheus
// (exposition formats, version 0.0.4).
std::string metrics_of(Line& line, std::span<nic::Port* const> ports);

// An answer of HTTP to a request: the metrics at /metrics, and nothing elsewhere.
std::string answer_http(const std::string& request, Line& line, std::span<nic::Port* const> ports);

}  // namespace xnic::sim
