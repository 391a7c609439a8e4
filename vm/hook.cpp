#include "vm/hook.h"

#include <linux/pkt_sched.h>

#include <algorithm>
#include <chrono>

#include "vm/prologue.h"
#include "vm/section.h"

namespace xnic::vm {
namespace {

struct HookRow {
  HookPoint point;
  std::string_view name;
  bpf_prog_type type;
};

constexpr std::array<HookRow, kHookPoints> kHooks = {{
    {HookPoint::xdp_offload, "xdp.offload", BPF_PROG_TYPE_XDP},
    {HookPoint::xdp_native, "xdp.native", BPF_PROG_TYPE_XDP},
    {HookPoint::xdp_generic, "xdp.generic", BPF_PROG_TYPE_XDP},
    {HookPoint::tc_ingress, "tc.ingress", BPF_PROG_TYPE_SCHED_CLS},
    {HookPoint::tc_egress, "tc.egress", BPF_PROG_TYPE_SCHED_CLS},
}};
constexpr size_t kFaultsKept = 16;
using Clock = std::chrono::steady_clock;

const HookRow& row(HookPoint point) { return kHooks[static_cast<size_t>(point)]; }

}  // namespace

std::string_view hook_name(HookPoint point) { return row(point).name; }

std::optional<HookPoint> parse_hook(std::string_view name) {
  for (const HookRow& hook : kHooks) {
    if (hook.name == name) return hook.point;
  }
  return std::nullopt;
}

std::optional<HookPoint> hook_of_section(std::string_view section) {
  const Section* row = find_section(section);
  return row == nullptr ? std::nullopt : row->hook;
}

bpf_prog_type hook_program_type(HookPoint point) { return row(point).type; }

Hook::Tcx Hook::tcx_of(uint32_t code) {
  switch (code) {
    case TC_ACT_OK:
    case TC_ACT_SHOT:
    case TC_ACT_REDIRECT:
      return Tcx::decided;
    case static_cast<uint32_t>(TC_ACT_UNSPEC):
      return Tcx::next;
    default:
      return Tcx::classic;
  }
}

void Hook::prefetch(std::span<const Waiting> waiting) const {
  const Prologue* first = prologue();
  if (first == nullptr) return;
  constexpr size_t kAtOnce = 32;
  std::array<uint64_t, kAtOnce> handles;
  for (; !waiting.empty(); waiting = waiting.subspan(std::min(waiting.size(), kAtOnce))) {
    const auto now = waiting.first(std::min(waiting.size(), kAtOnce));
    for (size_t i = 0; i < now.size(); ++i) {
      handles[i] = first->fetch_bucket(*now[i].packet, *now[i].environment);
    }
    for (size_t i = 0; i < now.size(); ++i) first->fetch_entry(handles[i]);
  }
}

Hook::Runner::Runner(std::shared_ptr<const Program> one)
    : program(std::move(one)), code(&program->code()), type(find_program_type(program->type())) {
  for (uint32_t value = 0; value < actions.size(); ++value) actions[value] = type->action(value);
}

Hook::Runner& Hook::runner_of(const std::shared_ptr<const Program>& program) {
  // Mostly there is one.
  if (!runners_.empty() && runners_.front().program == program) return runners_.front();
  const auto found = std::ranges::find(runners_, program, &Runner::program);
  if (found != runners_.end()) return *found;
  return runners_.emplace_back(program);
}

HookStatistics Hook::Runner::statistics() const {
  HookStatistics statistics{
      .runs = 0, .faults = faults, .instructions = instructions, .verdicts = {}};
  for (uint32_t value = 0; value < codes.size(); ++value) {
    if (codes[value] == 0) continue;
    statistics.runs += codes[value];
    statistics.verdicts[type->verdict_name(value)] += codes[value];
  }
  return statistics;
}

std::vector<Hook::ProgramRuns> Hook::program_runs() const {
  std::vector<ProgramRuns> runs;
  for (const Runner& one : runners_) runs.push_back({one.program, one.statistics()});
  const auto add_attached = [&](const std::shared_ptr<const Program>& program) {
    const bool known = std::ranges::find(runs, program, &ProgramRuns::program) != runs.end();
    if (program != nullptr && !known) runs.push_back({program, {}});
  };
  for (const Attached& one : tcx_.attached()) add_attached(one.program);
  add_attached(single_.program);
  return runs;
}

HookStatistics Hook::statistics() const {
  HookStatistics sum;
  for (const ProgramRuns& one : program_runs()) {
    sum.runs += one.statistics.runs;
    sum.faults += one.statistics.faults;
    sum.instructions += one.statistics.instructions;
    for (const auto& [verdict, count] : one.statistics.verdicts) sum.verdicts[verdict] += count;
  }
  return sum;
}

std::vector<std::string> Hook::faults() const {
  std::vector<std::string> sentences;
  for (const FaultSeen& fault : faults_) sentences.push_back(fault.sentence);
  return sentences;
}

Hook Hook::fresh_copy() const {
  Hook copy = *this;
  copy.runners_.clear();
  copy.faults_.clear();
  return copy;
}

void Hook::add(const Hook& copy) {
  for (const Runner& theirs : copy.runners_) {
    Runner& ours = runner_of(theirs.program);
    ours.faults += theirs.faults;
    ours.instructions += theirs.instructions;
    for (size_t i = 0; i < kCodesCounted; ++i) ours.codes[i] += theirs.codes[i];
  }
  faults_.insert(faults_.end(), copy.faults_.begin(), copy.faults_.end());
  std::ranges::stable_sort(faults_, {}, &FaultSeen::packet_id);
  if (faults_.size() > kFaultsKept) faults_.resize(kFaultsKept);
}

uint32_t Hook::classify(const TcFilter& filter, uint32_t code, Packet& packet) {
  constexpr uint32_t kNoMatch = 0;
  constexpr auto kOwnClass = static_cast<uint32_t>(-1);
  constexpr auto kUnspecified = static_cast<uint32_t>(TC_ACT_UNSPEC);
  uint32_t class_minor = packet.skb.tc_classid;
  if (!filter.direct_action) {
    if (code == kNoMatch) return kUnspecified;
    class_minor = code == kOwnClass ? filter.classid : code;
    code = filter.action;
  }
  if (code == TC_ACT_OK) packet.skb.tc_index = class_minor & TC_H_MIN_MASK;
  return code;
}

uint32_t Hook::note_fault(Runner& runner, const Invocation& invocation) {
  ++runner.faults;
  if (faults_.size() < kFaultsKept) {
    const uint64_t packet_id = invocation.packet.id;
    faults_.push_back({packet_id, fmt::format("packet {}, {}: {}", packet_id, hook_name(point_),
                                              invocation.fault->message)});
  }
  // The packet is aborted: XDP_ABORTED, or TC_ACT_SHOT, which is all that tc knows.
  return runner.type->type == BPF_PROG_TYPE_XDP ? XDP_ABORTED : TC_ACT_SHOT;
}

uint64_t Hook::run_on_the_clock(const Runner& runner, Invocation& invocation) {
  const auto start = Clock::now();
  const uint64_t r0 = runner.code->run(invocation);
  runner.program->count_run(Clock::now() - start);
  return r0;
}

// Written where it stays: to copy what was just written in parts stalls the CPU.
void Hook::run_one(const std::shared_ptr<const Program>& program, const TcFilter* filter,
                   Invocation& invocation, HookResult& result) {
  Packet& packet = invocation.packet;
  Runner& runner = runner_of(program);
  result.length_in = packet.length();
  if (filter != nullptr) packet.skb.tc_classid = filter->classid & TC_H_MIN_MASK;
  const Ran ran = run_counted(runner, filter, invocation);
  result.length_out = packet.length();
  result.instructions = invocation.instructions;
  result.cost = invocation.cost;
  result.fault = invocation.fault.has_value();
  result.code = ran.code;
  result.action = ran.action;
  result.verdict = runner.type->verdict_name(ran.code);
}

}  // namespace xnic::vm
