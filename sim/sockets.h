#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/attachment.h"
#include "traces/pcap_writer.h"
#include "vm/packet.h"
#include "vm/result.h"

namespace xnic::sim {

// Sockets of the emulated machine in the places of xskmaps (`--xsk MAP[:KEY]=FILE.pcap`): what XDP
// redirects to one is written to its file. A socket takes packets of every interface and queue.
class Sockets {
 public:
  // `requests` as typed; without KEY one socket is in every place of the map. Errors: usage for an
  // unknown map, one of another type, or a place that it does not have.
  static Result<std::unique_ptr<Sockets>> create(const std::vector<std::string>& requests,
                                                 const Attachments& attachments);

  // When simulated time began, in nanoseconds since 1970; before the first packet.
  void set_start(int64_t timestamp_ns) { start_ns_ = timestamp_ns; }
  // `socket` is RedirectEntry::socket; one that is not of these is ignored.
  void received(const vm::Packet& packet, uint64_t socket, uint64_t time_ps);
  // Gives the first error of all that was written.
  Result<void> finish();
  std::vector<std::string> paths() const { return paths_; }

 private:
  Sockets() = default;

  std::vector<std::unique_ptr<traces::PcapWriter>> writers_;
  std::vector<std::string> paths_;
  std::optional<Error> error_;
  int64_t start_ns_ = 0;
};

}  // namespace xnic::sim
