#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/bpf_host.h"
#include "sim/comparison.h"
#include "vm/result.h"

namespace xnic::sim {

// How long runs of a program take, over some packets, each of which it meets many times in a row:
// BPF_PROG_TEST_RUN with `repeat`, on either kernel. What a call costs beside the runs is taken
// off; what a run costs beside the program (the empty program's time) is not. Counted is the time
// of this thread's CPU, so that other processes disturb little. The packet is not put back between
// the runs of one call, so that a program may step a key in it.
class ProgramTiming {
 public:
  // All must outlive this. `program` is a descriptor of `host`.
  ProgramTiming(BpfHost& host, int program, std::span<const NumberedPacket> packets)
      : host_(host), program_(program), packets_(packets) {}

  // Runs each packet once; gives the answer that most of them got. Error (expectation_failed):
  // the first packet that BPF_PROG_TEST_RUN refuses.
  Result<uint32_t> warm_up();
  // Finds how many runs take about this long (after warm_up()).
  Result<void> choose_repeat(uint64_t nanoseconds);
  // One measurement: mean nanoseconds a run.
  Result<double> measure();

 private:
  Result<uint32_t> run(const NumberedPacket& packet, uint32_t repeat, double& nanoseconds);
  // Nanoseconds of a call with few runs, and of one with repeat_ runs more.
  Result<void> time(const NumberedPacket& packet, double& base, double& all);

  BpfHost& host_;
  int program_;
  std::span<const NumberedPacket> packets_;
  uint32_t repeat_ = 1;  // of each packet
};

struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};
// `samples` is not empty.
Spread spread_of(std::vector<double> samples);

// An IPv4/UDP frame of 64 bytes, from 192.0.2.1:1024 to 198.51.100.1:53.
Bytes generated_packet();

}  // namespace xnic::sim
