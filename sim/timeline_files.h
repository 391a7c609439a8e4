#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/perfetto_trace.h"
#include "sim/timeline.h"
#include "sim/vcd_wave.h"
#include "vm/result.h"

namespace xnic::sim {

// A window of simulated time and the file that shows it.
struct WaveRequest {
  nic::Picoseconds start = 0;
  nic::Picoseconds end = 0;
  std::string path;
};
// "10us:20us=FILE". Error: usage.
Result<WaveRequest> parse_wave(const std::string& text);

// The files that --trace and --wave ask for, and the timeline that fills them.
class TimelineFiles {
 public:
  // As typed: FILE, and START:END=FILE; empty for neither.
  static Result<std::unique_ptr<TimelineFiles>> create(const std::string& trace,
                                                       const std::string& wave);

  // Null if nothing is asked for.
  Timeline* timeline() { return timeline_.get(); }
  Result<void> finish();
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  std::unique_ptr<PerfettoTrace> trace_;
  std::unique_ptr<VcdWave> wave_;
  std::unique_ptr<Timeline> timeline_;
  std::vector<std::string> paths_;
};

}  // namespace xnic::sim
