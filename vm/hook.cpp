#include "vm/hook.h"

#include <linux/pkt_sched.h>

#include <algorithm>
#include <chrono>

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

HookStatistics& Hook::statistics_of(const std::shared_ptr<const Program>& program) {
  const auto found = std::ranges::find(runs_, program, &ProgramRuns::program);
  if (found != runs_.end()) return found->statistics;
  return runs_.emplace_back(ProgramRuns{program, {}}).statistics;
}

std::vector<Hook::ProgramRuns> Hook::program_runs() const {
  std::vector<ProgramRuns> runs = runs_;
  const auto add = [&](const std::shared_ptr<const Program>& program) {
    const bool known = std::ranges::find(runs, program, &ProgramRuns::program) != runs.end();
    if (program != nullptr && !known) runs.push_back({program, {}});
  };
  for (const Attached& one : tcx_.attached()) add(one.program);
  add(single_.program);
  return runs;
}

HookStatistics Hook::statistics() const {
  HookStatistics sum;
  for (const ProgramRuns& one : runs_) {
    sum.runs += one.statistics.runs;
    sum.faults += one.statistics.faults;
    sum.instructions += one.statistics.instructions;
    for (const auto& [verdict, count] : one.statistics.verdicts) sum.verdicts[verdict] += count;
  }
  return sum;
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

HookResult Hook::run_one(const std::shared_ptr<const Program>& program, const TcFilter& filter,
                         Packet& packet, Environment& environment) {
  const ProgramType& type = *find_program_type(program->type());
  HookStatistics& statistics = statistics_of(program);
  HookResult result;
  result.length_in = packet.length();
  const bool classic = type.type == BPF_PROG_TYPE_SCHED_CLS && &filter != &kDirect;
  if (classic) packet.skb.tc_classid = filter.classid & TC_H_MIN_MASK;

  Invocation invocation{.packet = packet, .environment = environment};
  const auto start = environment.counts_runs ? Clock::now() : Clock::time_point();
  const uint64_t r0 = program->code().run(invocation);
  if (environment.counts_runs) program->count_run(Clock::now() - start);

  if (environment.clone) {
    for (const Clone& clone : invocation.clones) environment.clone(*clone.packet, clone.to);
  }
  result.length_out = packet.length();
  result.instructions = invocation.instructions;
  result.redirect = invocation.redirect;
  statistics.runs++;
  statistics.instructions += invocation.instructions;
  if (invocation.fault) {
    // The packet is aborted: XDP_ABORTED, or TC_ACT_SHOT, which is all that tc knows.
    result.fault = true;
    result.code = type.type == BPF_PROG_TYPE_XDP ? XDP_ABORTED : TC_ACT_SHOT;
    result.action = Action::aborted;
    statistics.faults++;
    if (faults_.size() < kFaultsKept) {
      faults_.push_back(fmt::format("packet {}, {}: {}", packet.id, hook_name(point_),
                                    invocation.fault->message));
    }
  } else {
    result.code = static_cast<uint32_t>(r0);
    if (classic) result.code = classify(filter, result.code, packet);
    result.action = type.action(result.code);
  }
  result.verdict = type.verdict_name(result.code);
  statistics.verdicts[result.verdict]++;
  return result;
}

}  // namespace xnic::vm
