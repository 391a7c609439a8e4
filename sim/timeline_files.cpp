// Test: tests/sim/trace_command_test.cpp.
#include "sim/timeline_files.h"

#include <algorithm>
#include <utility>

#include "sim/commands/options.h"

namespace xnic::sim {

Result<WaveRequest> parse_wave(const std::string& text) {
  const size_t equals = text.find('=');
  const size_t colon = text.find(':');
  if (equals == std::string::npos || colon > equals || equals + 1 == text.size()) {
    return fail(ExitCode::usage, "--wave {}: write it as START:END=FILE.vcd, as in 0:20us=a.vcd",
                text);
  }
  const auto start = parse_duration("--wave", text.substr(0, colon));
  if (!start) return tl::unexpected(start.error());
  const auto end = parse_duration("--wave", text.substr(colon + 1, equals - colon - 1));
  if (!end) return tl::unexpected(end.error());
  if (*end <= *start) {
    return fail(ExitCode::usage, "--wave {}: the window must end after it starts", text);
  }
  constexpr uint64_t kLast = nic::kEndOfTime / nic::kPicosecondsPerNanosecond;
  return WaveRequest{std::min(*start, kLast) * nic::kPicosecondsPerNanosecond,
                     std::min(*end, kLast) * nic::kPicosecondsPerNanosecond,
                     text.substr(equals + 1)};
}

Result<std::unique_ptr<TimelineFiles>> TimelineFiles::create(const std::string& trace,
                                                             const std::string& wave) {
  auto files = std::make_unique<TimelineFiles>();
  std::vector<TimelineSink*> sinks;
  if (!trace.empty()) {
    auto made = PerfettoTrace::create(trace);
    if (!made) return tl::unexpected(made.error());
    files->trace_ = std::move(*made);
    files->paths_.push_back(trace);
    sinks.push_back(files->trace_.get());
  }
  if (!wave.empty()) {
    const auto request = parse_wave(wave);
    if (!request) return tl::unexpected(request.error());
    auto made = VcdWave::create(request->path, request->start, request->end);
    if (!made) return tl::unexpected(made.error());
    files->wave_ = std::move(*made);
    files->paths_.push_back(request->path);
    sinks.push_back(files->wave_.get());
  }
  if (!sinks.empty()) files->timeline_ = std::make_unique<Timeline>(std::move(sinks));
  return files;
}

Result<void> TimelineFiles::finish() {
  if (trace_ != nullptr) {
    if (auto finished = trace_->finish(); !finished) return finished;
  }
  return wave_ == nullptr ? Result<void>() : wave_->finish();
}

}  // namespace xnic::sim
