#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "sim/timeline.h"
#include "traces/output_file.h"
#include "vm/result.h"

namespace xnic::sim {

// A trace that ui.perfetto.dev opens (perfetto/trace/trace.proto): a track for each server, with a
// slice for each packet, and a counter for each store; the slices of a packet are one flow. Written
// as the run goes on. Timestamps are simulated nanoseconds.
// Test: tests/sim/trace_command_test.cpp.
class PerfettoTrace : public TimelineSink {
 public:
  static Result<std::unique_ptr<PerfettoTrace>> create(const std::string& path);

  void begin(const std::vector<Place>& places) override;
  void served(uint32_t place, uint32_t lane, nic::Picoseconds time, uint64_t packet,
              const char* label, bool last) override;
  void idle(uint32_t place, uint32_t lane, nic::Picoseconds time) override;
  void level(uint32_t place, nic::Picoseconds time, uint32_t packets) override;
  // Gives the first error of all that was written.
  Result<void> finish();

 private:
  explicit PerfettoTrace(std::unique_ptr<traces::OutputFile> file) : file_(std::move(file)) {}
  // A track's identity; a lane's track is described when it is first used.
  uint64_t track(uint32_t place, uint32_t lane);
  template <class Fill>
  void write_event(uint32_t place, uint32_t lane, nic::Picoseconds time, int32_t type, Fill fill);
  void write(const std::string& packet);

  std::unique_ptr<traces::OutputFile> file_;
  std::optional<Error> error_;
  std::vector<Place> places_;
  std::unordered_set<uint64_t> described_;
  std::string scratch_;
};

}  // namespace xnic::sim
