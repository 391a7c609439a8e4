// Test: tests/sim/generator_test.cpp.
#include "sim/rate_search.h"

namespace xnic::sim {
namespace {

constexpr double kPaceKept = 0.99;
constexpr double kStepBack = 0.98;  // of a rate that was not confirmed
constexpr size_t kMostSteps = 64;

}  // namespace

SearchResult search_rate(const SearchOptions& options, double most,
                         const std::function<TrialResult(double rate)>& trial) {
  SearchResult found;
  const auto passes = [&](double rate) {
    SearchStep step{.rate = rate, .result = trial(rate)};
    step.passed = step.result.sent != 0 && step.result.loss() <= options.most_loss &&
                  step.result.sent_per_second() >= kPaceKept * rate;
    if (step.passed) found.at_rate = step.result;
    found.steps.push_back(step);
    return step.passed;
  };
  const auto confirmed = [&](double rate) {
    for (uint32_t i = 0; i < options.confirmations; ++i) {
      if (!passes(rate)) return false;
    }
    return true;
  };
  double works = 0;
  double fails = most;
  if (passes(most)) works = most;
  while (works < most && fails - works > options.resolution * fails &&
         found.steps.size() < kMostSteps) {
    const double middle = (works + fails) / 2;
    (passes(middle) ? works : fails) = middle;
  }
  while (works > 0 && !confirmed(works)) {
    if (found.steps.size() >= kMostSteps) return found;
    works *= kStepBack;
  }
  found.rate = works;
  return found;
}

}  // namespace xnic::sim
