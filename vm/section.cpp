// Test: tests/vm/objects_test.cpp.
#include "vm/section.h"

#include <algorithm>
#include <array>

namespace xnic::vm {
namespace {

// What linux/bpf.h of older systems lacks.
constexpr uint32_t kTcxIngress = 46;
constexpr uint32_t kTcxEgress = 47;
constexpr uint32_t kNetkitPrimary = 54;
constexpr uint32_t kNetkitPeer = 55;

constexpr auto kXdpType = BPF_PROG_TYPE_XDP;
constexpr auto kTcType = BPF_PROG_TYPE_SCHED_CLS;
constexpr auto kNative = HookPoint::xdp_native;
constexpr auto kIngress = HookPoint::tc_ingress;
constexpr auto kEgress = HookPoint::tc_egress;
constexpr auto kNoHook = std::nullopt;
using M = Section::Match;

// Programs of devmap and cpumap entries run behind a redirect, those of netkit in a device that
// does not exist here: no hook of a packet's way takes them.
constexpr std::array kSections = {
    Section{"xdp.frags/devmap", M::exact, kXdpType, BPF_XDP_DEVMAP, true, kNoHook},
    Section{"xdp/devmap", M::exact, kXdpType, BPF_XDP_DEVMAP, false, kNoHook},
    Section{"xdp_devmap/", M::start, kXdpType, BPF_XDP_DEVMAP, false, kNoHook},
    Section{"xdp.frags/cpumap", M::exact, kXdpType, BPF_XDP_CPUMAP, true, kNoHook},
    Section{"xdp/cpumap", M::exact, kXdpType, BPF_XDP_CPUMAP, false, kNoHook},
    Section{"xdp_cpumap/", M::start, kXdpType, BPF_XDP_CPUMAP, false, kNoHook},
    Section{"xdp.frags", M::folder, kXdpType, BPF_XDP, true, kNative},
    Section{"xdp", M::start, kXdpType, BPF_XDP, false, kNative},
    Section{"tcx/ingress", M::exact, kTcType, kTcxIngress, false, kIngress},
    Section{"tcx/egress", M::exact, kTcType, kTcxEgress, false, kEgress},
    Section{"tc/ingress", M::exact, kTcType, kTcxIngress, false, kIngress},
    Section{"tc/egress", M::exact, kTcType, kTcxEgress, false, kEgress},
    Section{"netkit/primary", M::exact, kTcType, kNetkitPrimary, false, kNoHook},
    Section{"netkit/peer", M::exact, kTcType, kNetkitPeer, false, kNoHook},
    Section{"classifier/egress", M::exact, kTcType, 0, false, kEgress},
    Section{"tcx", M::folder, kTcType, 0, false, kIngress},
    Section{"tc", M::folder, kTcType, 0, false, kIngress},
    Section{"tc_egress", M::start, kTcType, 0, false, kEgress},
    Section{"tc_", M::start, kTcType, 0, false, kIngress},
    Section{"classifier", M::start, kTcType, 0, false, kIngress},
    Section{"ingress", M::exact, kTcType, 0, false, kIngress},
    Section{"egress", M::exact, kTcType, 0, false, kEgress},
    Section{"action", M::start, BPF_PROG_TYPE_SCHED_ACT, 0, false, kNoHook},
    Section{"freplace", M::folder, BPF_PROG_TYPE_EXT, 0, false, kNoHook},
};

bool matches(const Section& row, std::string_view name) {
  if (!name.starts_with(row.name)) return false;
  const std::string_view rest = name.substr(row.name.size());
  return rest.empty() || row.match == M::start || (row.match == M::folder && rest[0] == '/');
}

}  // namespace

std::span<const Section> sections() { return kSections; }

const Section* find_section(std::string_view name) {
  if (name.starts_with('?')) name.remove_prefix(1);
  const auto found =
      std::ranges::find_if(kSections, [&](const Section& row) { return matches(row, name); });
  return found == kSections.end() ? nullptr : &*found;
}

}  // namespace xnic::vm
