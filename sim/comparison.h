#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/kernel_side.h"
#include "sim/open_fields.h"

// What two kernels did with the same program and packets, held against each other.
namespace xnic::sim {

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

// A further side that runs what one of the two runs, with something other that no program may
// count on. What comes out differently there is excused.
struct Witness {
  std::unique_ptr<KernelSide> side;
  std::string reason;           // what is other: "time: ..."
  uint64_t clock_ahead_ns = 0;  // of our side's
};

struct Witnesses {
  std::vector<Witness> ours;    // held against our side
  std::vector<Witness> kernel;  // held against the real one
};

// One more emulated side, whose addresses are other ones; some at other times and with other random
// numbers than `seed` gives; and more of the real one, which chooses the order of its hashes anew.
// Errors: as KernelSide's.
Result<Witnesses> call_witnesses(const std::string& path, vm::Engine& engine, uint64_t seed,
                                 const SideOptions& options = {});

struct ComparisonOptions {
  std::string program = {};           // this one alone; empty: all in turn
  uint32_t largest_map = UINT32_MAX;  // entries; larger ones are not compared
};

// Runs packets on both sides, program by program, each in order, so that state builds up alike.
// Our side sees the time that it is on Linux, all emulated sides the same for a packet.
class Comparison {
 public:
  // All sides hold the same object and the same maps. Without witnesses nothing is excused.
  Comparison(KernelSide& ours, KernelSide& kernel, ComparisonOptions options = {},
             const Witnesses* witnesses = nullptr);

  // One capture: all packets through all programs, then all maps.
  void run(const std::string& capture, std::span<const NumberedPacket> packets);

  const ComparisonResult& result() const { return result_; }

 private:
  void run_program(const SideProgram& ours, const SideProgram& kernel, const std::string& capture,
                   std::span<const NumberedPacket> packets);
  void compare_map(const SideMap& ours, const SideMap& kernel, const std::string& capture);
  void report(Difference difference, std::string reason);
  void leave_out_map(const std::string& name, std::string reason);
  void refused(const std::string& program, const std::string& capture, uint64_t packet, long error);

  KernelSide& ours_;
  KernelSide& kernel_;
  ComparisonOptions options_;
  const Witnesses* witnesses_;
  std::map<std::string, OpenFields> open_in_programs_;  // by program
  std::map<std::string, OpenFields> open_in_maps_;      // by map
  ComparisonResult result_;
};

// The request that a packet makes of a program of this type: bytes and context are wanted back.
RunRequest request_for(const Bytes& packet, bpf_prog_type type);

}  // namespace xnic::sim
