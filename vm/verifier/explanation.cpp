#include "vm/verifier/explanation.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "vm/verifier/advice.h"
#include "vm/verifier/control_flow.h"

namespace xnic::vm::verifier {
namespace {

constexpr size_t kLongestFollowedAgain = 20'000;  // instructions

// The decisions of a path, each once, where it was made last.
std::vector<PathStep> decisions_of(const Program& program, std::span<const uint32_t> path) {
  struct Seen {
    size_t last = 0;
    uint64_t times = 0;
  };
  using Decision = std::pair<uint32_t, uint32_t>;  // the instruction, and the one that came next
  const std::span<const bpf_insn> code = program.instructions();
  std::map<Decision, Seen> seen;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    const bpf_insn& insn = code[path[i]];
    const bool decides = jumps(opcode(insn).kind) && successors(code, path[i]).count == 2;
    if (!decides && !calls_subprogram(insn)) continue;
    Seen& decision = seen[{path[i], path[i + 1]}];
    decision.last = i;
    ++decision.times;
  }
  std::vector<std::pair<Decision, Seen>> ordered(seen.begin(), seen.end());
  std::ranges::sort(ordered, {}, [](const auto& entry) { return entry.second.last; });
  std::vector<PathStep> steps;
  for (const auto& [decision, where] : ordered) {
    const auto [at, next] = decision;
    const PathStep::Way way = calls_subprogram(code[at]) ? PathStep::Way::calls
                              : next == at + 1           ? PathStep::Way::goes_on
                                                         : PathStep::Way::jumps;
    steps.push_back({place_of(program, at), way, place_of(program, next), where.times});
  }
  return steps;
}

// Words that Linux has for memory of any kind, and the pointer tells which.
Category refined(Category category, std::string_view words, const State& state) {
  if (category != Category::memory_access || !words.starts_with('R') || words.size() < 2) {
    return category;
  }
  const auto number = static_cast<uint32_t>(words[1] - '0');
  if (number >= kRegisters) return category;
  const Register& r = state.frame()[number];
  if (r.is_packet()) return Category::packet_access;
  if (r.type == Type::map_value) return Category::map_value_access;
  return r.type == Type::stack ? Category::stack_access : category;
}

std::string sentence(std::string text) {
  std::ranges::replace(text, '\n', ' ');
  return text;
}

// Follows the path again. The origins are empty if that does not lead to the same refusal.
std::pair<Origins, std::unique_ptr<State>> follow_again(const Program& program,
                                                        const Finding& finding,
                                                        const Options& options) {
  Origins origins(program.instructions());
  if (finding.path.size() > kLongestFollowedAgain) return {std::move(origins), nullptr};
  const Options again{
      .kernel_types = options.kernel_types,
      .log_level = 0,
      .possible_cpus = options.possible_cpus,
      .along = finding.path,
      .observe = [&](const State& state, uint32_t index) { origins.see(state, index); }};
  Finding same = analyse(program.spec(), program.subprograms(), program.maps(),
                         program.gpl_compatible(), again);
  const bool is_same =
      same.refusal && same.index == finding.index && same.refusal->error == finding.refusal->error;
  if (!is_same) return {Origins(program.instructions()), nullptr};
  return {std::move(origins), std::move(same.state)};
}

}  // namespace

Rejection explain(const Program& program, Finding& finding, const Options& options) {
  const Refusal& refusal = *finding.refusal;
  Rejection rejection;
  rejection.error = refusal.error;
  rejection.said = refusal.words;
  rejection.category = category_of(refusal.words);
  rejection.reason = sentence(refusal.words);
  rejection.statistics = finding.statistics;
  rejection.message = std::move(finding.log);
  if (finding.index != UINT32_MAX) {
    // The log of what led there, then the reason, with the instruction and its source line.
    rejection.message += fmt::format("at {}\n", describe_instruction(program, finding.index));
    rejection.place = place_of(program, finding.index);
  }
  rejection.message += refusal.words;
  if (finding.state == nullptr) return rejection;

  rejection.path = decisions_of(program, finding.path);
  const auto [origins, state] = follow_again(program, finding, options);
  const State& last = state != nullptr ? *state : *finding.state;
  rejection.category = refined(rejection.category, refusal.words, last);
  const Scene scene{program, rejection.category, refusal.words, finding.index, last,
                    origins, finding.path};
  if (auto advice = advice_for(scene)) {
    rejection.reason = std::move(advice->reason);
    rejection.suggestion = std::move(advice->suggestion);
  }
  return rejection;
}

}  // namespace xnic::vm::verifier
