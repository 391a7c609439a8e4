#include "vm/hook.h"

#include <linux/pkt_cls.h>

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

HookResult Hook::run(Packet& packet, Environment& environment) {
  const ProgramType& type = *find_program_type(program_->type());
  HookResult result;
  result.length_in = packet.length();

  Invocation invocation{.packet = packet, .environment = environment};
  const uint64_t r0 = program_->code().run(invocation);

  result.length_out = packet.length();
  result.instructions = invocation.instructions;
  result.redirect = invocation.redirect;
  statistics_.runs++;
  statistics_.instructions += invocation.instructions;
  if (invocation.fault) {
    // The packet is aborted: XDP_ABORTED, or TC_ACT_SHOT, which is all that tc knows.
    result.fault = true;
    result.code = type.type == BPF_PROG_TYPE_XDP ? XDP_ABORTED : TC_ACT_SHOT;
    result.action = Action::aborted;
    statistics_.faults++;
    if (faults_.size() < kFaultsKept) {
      faults_.push_back(fmt::format("packet {}, {}: {}", packet.id, hook_name(point_),
                                    invocation.fault->message));
    }
  } else {
    result.code = static_cast<uint32_t>(r0);
    result.action = type.action(result.code);
  }
  result.verdict = type.verdict_name(result.code);
  statistics_.verdicts[result.verdict]++;
  return result;
}

}  // namespace xnic::vm
