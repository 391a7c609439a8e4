// The PCIe link as two busy-until wires and two latencies.
// It leaves out flow control credits, tags, the IOMMU, NUMA and cache effects, and the reads that
// prefetch receive descriptors. Read requests take their time on the wire to the host but do not
// hold up writes there; each kind is served in the order in which the model makes them.
// Test: tests/nic/pcie_test.cpp.
#include "nic/pcie.h"

#include <algorithm>

namespace xnic::nic {
namespace {

constexpr uint64_t kRegisterBytes = 4;

// Base specification: 8b/10b up to 5 GT/s, 128b/130b from 8 GT/s on.
double line_code(double gigatransfers) { return gigatransfers < 8 ? 8.0 / 10 : 128.0 / 130; }

uint64_t pieces(uint64_t bytes, uint64_t most) {
  if (bytes <= most) return bytes != 0 ? 1 : 0;  // as nearly always
  return (bytes + most - 1) / most;
}

}  // namespace

Pcie::Pcie(const NicProfile& profile)
    : max_payload_(profile.max_payload_bytes.whole()),
      max_read_request_(profile.max_read_request_bytes.whole()),
      write_header_(profile.write_header_bytes.whole()),
      request_header_(profile.read_request_header_bytes.whole()),
      completion_header_(profile.completion_header_bytes.whole()),
      rate_(profile.lane_gtps.value * profile.lanes.value * line_code(profile.lane_gtps.value) *
            profile.data_link_efficiency.value),
      write_latency_(from_nanoseconds(profile.write_latency_ns.value)),
      read_latency_(from_nanoseconds(profile.read_latency_ns.value)) {}

uint64_t Pcie::write_bytes(uint64_t bytes) const {
  return bytes + pieces(bytes, max_payload_) * write_header_;
}

uint64_t Pcie::read_request_bytes(uint64_t bytes) const {
  return pieces(bytes, max_read_request_) * request_header_;
}

uint64_t Pcie::read_completion_bytes(uint64_t bytes) const {
  return bytes + pieces(bytes, max_payload_) * completion_header_;
}

Pcie::Transfer Pcie::write(Picoseconds now, uint64_t bytes) {
  const Picoseconds wire = rate_.time(write_bytes(bytes));
  const Picoseconds begun = std::max(now, writes_free_);
  writes_free_ = begun + wire;
  to_host_.add(wire);
  return {begun, writes_free_, writes_free_ + write_latency_};
}

Pcie::Transfer Pcie::read(Picoseconds now, uint64_t bytes) {
  const Picoseconds request = rate_.time(read_request_bytes(bytes));
  const Picoseconds completion = rate_.time(read_completion_bytes(bytes));
  requests_free_ = std::max(now, requests_free_) + request;
  const Picoseconds first_byte = requests_free_ + read_latency_;
  const Picoseconds begun = std::max(first_byte, to_nic_free_);
  to_nic_free_ = begun + completion;
  to_host_.add(request);
  to_nic_.add(completion);
  return {begun, requests_free_, to_nic_free_};
}

Picoseconds Pcie::doorbell(Picoseconds now) {
  const Picoseconds wire = rate_.time(write_bytes(kRegisterBytes));
  to_nic_.add(wire);
  return now + wire + write_latency_;
}

}  // namespace xnic::nic
