#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/outcome.h"
#include "traces/pcap_writer.h"
#include "vm/network.h"
#include "vm/result.h"

namespace xnic::sim {

// Writes what leaves each interface to a capture of its own (`--write nic0=out.pcap`), in the order
// in which it leaves, and passes outcomes on. Times are the capture's, moved on by what the packet
// took.
class Departures : public OutcomeSink {
 public:
  // `requests` as typed: INTERFACE=FILE. `next` must outlive this. Errors: usage for an unknown
  // interface or a request of another form.
  static Result<std::unique_ptr<Departures>> create(const std::vector<std::string>& requests,
                                                    const vm::Network& network, OutcomeSink& next);

  // When simulated time began, in nanoseconds since 1970; before the first packet ends.
  void set_start(int64_t timestamp_ns) { start_ns_ = timestamp_ns; }
  void done(const vm::Packet& packet, const Outcome& outcome) override;
  bool wants_packets() const override { return !writers_.empty() || next_.wants_packets(); }
  // A copy of a packet beside the packet itself.
  void copy_sent(const vm::Packet& packet, uint32_t ifindex, uint64_t time_ps);
  // Gives the first error of all that was written.
  Result<void> finish();
  std::vector<std::string> paths() const { return paths_; }

 private:
  explicit Departures(OutcomeSink& next) : next_(next) {}

  OutcomeSink& next_;
  std::map<uint32_t, std::unique_ptr<traces::PcapWriter>> writers_;  // by ifindex
  std::vector<std::string> paths_;
  std::optional<Error> error_;
  int64_t start_ns_ = 0;
};

}  // namespace xnic::sim
