#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/kernel_side.h"

// What two kernels did with the same program and packets, held against each other.
namespace xnic::sim {

// One field in which two answers differ. Bytes are shown in hexadecimal, 16 from the first that
// differs.
struct FieldDifference {
  std::string field;  // "errno", "return_code", "data_size", "data", "context_size", "context"
  std::optional<size_t> offset = {};  // of the first differing byte
  std::string ours;
  std::string kernel;
};

// The fields in which two answers to BPF_PROG_TEST_RUN differ. Where errno differs, that alone; of
// bytes whose sizes differ, both.
std::vector<FieldDifference> differences(const RunAnswer& ours, const RunAnswer& kernel);

struct Difference {
  std::string capture;
  std::string program;     // empty for maps, which all programs share
  uint64_t packet = 0;     // its number in the capture, from 1; 0 for maps
  std::string field = {};  // a FieldDifference's, or "map NAME"
  std::string key = {};    // of a map's entry, hexadecimal
  std::optional<size_t> offset = {};
  std::string ours = {};
  std::string kernel = {};
  std::string reason = {};  // of an excused one: what Linux leaves open; else empty
};

// What could not be compared: packets that BPF_PROG_TEST_RUN refuses on both sides alike, maps
// whose entries cannot be listed, programs of other types.
struct NotComparable {
  std::string what;  // "packets", "map", "program"
  std::string name;  // of the map or program
  std::string capture = {};
  uint64_t packets = 0;       // how many
  uint64_t first_packet = 0;  // the first one's number
  long error = 0;             // -errno
  std::string reason = {};
};

struct ComparisonResult {
  uint64_t compared = 0;     // packets times programs that both sides ran
  uint64_t maps = 0;         // maps compared, once after each capture
  uint64_t map_entries = 0;  // their entries
  std::vector<Difference> differences;
  std::vector<Difference> excused;
  std::vector<NotComparable> not_comparable;
};

struct NumberedPacket {
  uint64_t number;  // in its capture
  Bytes bytes;
};

// Runs packets on both sides, program by program, each in order, so that state builds up alike.
class Comparison {
 public:
  // Both sides hold the same object. `program` picks one; empty: all in turn.
  Comparison(KernelSide& ours, KernelSide& kernel, std::string program);

  // One capture: all packets through all programs, then all maps.
  void run(const std::string& capture, std::span<const NumberedPacket> packets);

  const ComparisonResult& result() const { return result_; }

 private:
  void run_program(const SideProgram& ours, const SideProgram& kernel, const std::string& capture,
                   std::span<const NumberedPacket> packets);
  void compare_map(const SideMap& ours, const SideMap& kernel, const std::string& capture);
  void report(Difference difference, const std::string& reason);
  void refused(const std::string& program, const std::string& capture, uint64_t packet, long error);

  KernelSide& ours_;
  KernelSide& kernel_;
  std::string program_;
  ComparisonResult result_;
};

// The request that a packet makes of a program of this type: bytes and context are wanted back.
RunRequest request_for(const Bytes& packet, bpf_prog_type type);

}  // namespace xnic::sim
