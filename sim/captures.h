#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "sim/report.h"
#include "traces/merged_reader.h"
#include "vm/network.h"
#include "vm/result.h"

namespace xnic::sim {

// The captures of a run, read as one, and the interfaces at which their frames come in.
struct Captures {
  std::unique_ptr<traces::MergedReader> reader;
  std::vector<uint32_t> entrances;  // by Record::source
  std::vector<uint32_t> ports;      // the same interfaces, each once
  const vm::Network* network = nullptr;

  // What the report says of them once they are read.
  std::vector<Report::Capture> summary() const;
};

// `requests` as typed: "[INTERFACE=]CAPTURE", "-" for standard input; without an interface it is
// the one of index kNicIfindex. The network must outlive the captures. Errors: usage for an
// interface that is not there or takes no frames, and the reader's.
Result<Captures> open_captures(const std::vector<std::string>& requests, const vm::Network& network,
                               const std::string& filter, bool strict);

}  // namespace xnic::sim
