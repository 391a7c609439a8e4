// The PCIe link as two busy-until wires, latencies, and what limits how much is under way. What
// acknowledges and credit updates take of a wire is taken off its rate, at the intervals that the
// base specification recommends.
// It leaves out credits of reads and completions, retries, and that completions may overtake each
// other; each kind of transfer is served in the order in which the model makes them.
// Test: tests/nic/pcie_test.cpp.
#include "nic/pcie.h"

#include <algorithm>

namespace xnic::nic {
namespace {

constexpr double kDataLinkBytes = 8;       // an acknowledge or a credit update, with framing
constexpr double kSkipShare = 4.0 / 1538;  // ordered sets that compensate clocks

// Base specification: 8b/10b up to 5 GT/s, 128b/130b from 8 GT/s on.
double line_code(double gigatransfers) { return gigatransfers < 8 ? 8.0 / 10 : 128.0 / 130; }

// Gb/s that are left for TLPs.
double transaction_rate(const NicProfile& profile) {
  const double raw =
      profile.lane_gtps.value * profile.lanes.value * line_code(profile.lane_gtps.value);
  return raw * (1 - kSkipShare - kDataLinkBytes / profile.acknowledge_interval_bytes.value -
                kDataLinkBytes / profile.credit_update_interval_bytes.value);
}

uint64_t pieces(uint64_t bytes, uint64_t most) {
  if (bytes <= most) return bytes != 0 ? 1 : 0;  // as nearly always
  return (bytes + most - 1) / most;
}

}  // namespace

Pcie::Pcie(const NicProfile& profile)
    : max_payload_(profile.max_payload_bytes.whole()),
      max_read_request_(profile.max_read_request_bytes.whole()),
      max_completion_(profile.read_completion_bytes.whole()),
      write_header_(profile.write_header_bytes.whole()),
      request_header_(profile.read_request_header_bytes.whole()),
      completion_header_(profile.completion_header_bytes.whole()),
      rate_(transaction_rate(profile)),
      staging_ps_(profile.staging_gbps.value == 0 ? 0 : 8000 / profile.staging_gbps.value),
      write_latency_(from_nanoseconds(profile.write_latency_ns.value + profile.numa_ns.value)),
      read_latency_(from_nanoseconds(profile.read_latency_ns.value + profile.numa_ns.value)),
      credit_latency_(from_nanoseconds(profile.credit_latency_ns.value)),
      posted_(profile.posted_header_credits.whole(), profile.posted_data_credits.whole()),
      tags_(profile.read_tags.whole(), 0),
      iommu_(profile) {}

uint64_t Pcie::write_bytes(uint64_t bytes) const {
  return bytes + pieces(bytes, max_payload_) * write_header_;
}

uint64_t Pcie::read_request_bytes(uint64_t bytes) const {
  return pieces(bytes, max_read_request_) * request_header_;
}

uint64_t Pcie::read_completion_bytes(uint64_t bytes) const {
  return bytes + pieces(bytes, max_completion_) * completion_header_;
}

Pcie::Transfer Pcie::write_tlps(Picoseconds now, uint64_t bytes, uint64_t address) {
  Transfer transfer = write_tlp(now, max_payload_, address);
  for (uint64_t left = bytes - max_payload_; left != 0;) {
    const uint64_t payload = std::min(left, max_payload_);
    const Transfer last = write_tlp(now, payload, address);
    transfer.left = last.left;
    transfer.done = last.done;
    left -= payload;
  }
  return transfer;
}

Pcie::Transfer Pcie::read(Picoseconds now, uint64_t bytes, uint64_t address, Picoseconds memory) {
  const uint64_t requests = pieces(bytes, max_read_request_);
  Picoseconds done = 0;
  Picoseconds begun = 0;
  uint64_t left = bytes;
  for (uint64_t i = 0; i < requests; ++i) {
    const uint64_t payload = std::min(left, max_read_request_);
    const Picoseconds request = rate_.time(request_header_);
    const Picoseconds completion = rate_.time(read_completion_bytes(payload));
    requests_free_ = std::max(tags_.take(now, 0), requests_free_) + request;
    wire_to_host_.slip(request);
    const Picoseconds known = iommu_.translate(requests_free_, address);
    const Picoseconds first = wire_to_nic_.pass(known + read_latency_ + memory, completion);
    if (i == 0) begun = first;
    done = first + completion;
    tags_.hold(done);
    to_host_.add(request);
    to_nic_.add(completion);
    left -= payload;
  }
  const auto staged = static_cast<Picoseconds>(static_cast<double>(bytes) * staging_ps_);
  return {begun, requests_free_, done + staged};
}

Picoseconds Pcie::doorbell(Picoseconds now) {
  const Picoseconds wire = rate_.time(write_bytes(kRegisterBytes));
  wire_to_nic_.slip(wire);
  to_nic_.add(wire);
  return now + wire + write_latency_;
}

Picoseconds Pcie::fetch(Picoseconds now, uint64_t bytes) {
  const Picoseconds request = rate_.time(read_request_bytes(bytes));
  const Picoseconds completion = rate_.time(read_completion_bytes(bytes));
  wire_to_host_.slip(request);
  wire_to_nic_.slip(completion);
  to_host_.add(request);
  to_nic_.add(completion);
  return now + request + read_latency_ + completion;
}

void Pcie::write_back(uint64_t bytes) {
  const Picoseconds wire = rate_.time(write_bytes(bytes));
  wire_to_host_.slip(wire);
  to_host_.add(wire);
}

}  // namespace xnic::nic
