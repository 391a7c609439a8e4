#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/timeline.h"
#include "traces/output_file.h"
#include "vm/result.h"

namespace xnic::sim {

// A value change dump (IEEE 1364, clause 18) of a window of simulated time, for waveform viewers:
// how many packets are in each store, and how many each server works on. The unit of time is the
// picosecond. Test: tests/sim/trace_command_test.cpp.
class VcdWave : public TimelineSink {
 public:
  // From `start` up to, and not with, `end`.
  static Result<std::unique_ptr<VcdWave>> create(const std::string& path, nic::Picoseconds start,
                                                 nic::Picoseconds end);

  void begin(const std::vector<Place>& places) override;
  void served(uint32_t, uint32_t, nic::Picoseconds, uint64_t, const char*, bool) override {}
  void idle(uint32_t, uint32_t, nic::Picoseconds) override {}
  void level(uint32_t place, nic::Picoseconds time, uint32_t packets) override;
  // Gives the first error of all that was written.
  Result<void> finish();

 private:
  VcdWave(std::unique_ptr<traces::OutputFile> file, nic::Picoseconds start, nic::Picoseconds end)
      : file_(std::move(file)), start_(start), end_(end) {}
  void open_window();
  void change(uint32_t place);
  void write(const std::string& text);

  std::unique_ptr<traces::OutputFile> file_;
  nic::Picoseconds start_;
  nic::Picoseconds end_;
  std::vector<uint32_t> levels_;
  bool open_ = false;
  nic::Picoseconds now_ = 0;  // the last time that was written
  std::optional<Error> error_;
};

}  // namespace xnic::sim
