// Test: tests/sim/line_traffic_test.cpp.
#include "sim/line_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "sim/lane.h"

namespace xnic::sim {

struct LineCheck::Machine {
  Machine(InterfaceHooks hooks, const RunOptions& options)
      : lane(std::move(hooks), options, false, false) {}

  Lane lane;
  nic::Rss rss{1};
  Journey journey;
  uint64_t frames = 0;
};

LineCheck::LineCheck(InterfaceHooks hooks, const RunOptions& options, uint32_t in, uint32_t out)
    : machine_(std::make_unique<Machine>(std::move(hooks), options)), in_(in), out_(out) {}

LineCheck::~LineCheck() = default;

void LineCheck::sent(std::span<const uint8_t> frame) {
  Machine& machine = *machine_;
  const traces::Frame entering{.id = ++machine.frames,
                               .bytes = frame,
                               .original_length = static_cast<uint32_t>(frame.size())};
  Lane::enter(entering, machine.rss.steer(frame), in_, machine.journey);
  Journey* const burst[] = {&machine.journey};
  machine.lane.run(burst, [](const Journey&) {});
  const Outcome& outcome = machine.journey.outcome;
  if (outcome.end != End::transmitted || outcome.out_ifindex != out_) return;
  ++predicted_;
  frames_[machine.journey.packet.bytes()] -= 1;
}

LineCheck::Answer LineCheck::answer() const {
  constexpr size_t kExamples = 5;
  constexpr size_t kShown = 96;
  Answer answer{.predicted = predicted_, .examples = {}};
  for (const auto& [frame, surplus] : frames_) {
    if (surplus == 0) continue;
    (surplus < 0 ? answer.missing : answer.unexpected) +=
        static_cast<uint64_t>(surplus < 0 ? -surplus : surplus);
    if (answer.examples.size() == kExamples) continue;
    const auto shown = std::span(frame).first(std::min(frame.size(), kShown));
    answer.examples.push_back(fmt::format(
        "{}: {} bytes, {:02x}{}", surplus < 0 ? "predicted, did not come" : "came, not predicted",
        frame.size(), fmt::join(shown, " "), shown.size() < frame.size() ? " ..." : ""));
  }
  return answer;
}

}  // namespace xnic::sim
