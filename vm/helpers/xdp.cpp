// Helpers that move the bounds of an XDP packet.
#include "vm/helpers/rows.h"

namespace xnic::vm {
namespace {

uint64_t xdp_adjust_head(Invocation& run, uint64_t, uint64_t delta, uint64_t, uint64_t, uint64_t) {
  return result(run.packet.adjust_head(static_cast<int32_t>(delta)));
}

uint64_t xdp_adjust_meta(Invocation& run, uint64_t, uint64_t delta, uint64_t, uint64_t, uint64_t) {
  return result(run.packet.adjust_meta(static_cast<int32_t>(delta)));
}

uint64_t xdp_adjust_tail(Invocation& run, uint64_t, uint64_t delta, uint64_t, uint64_t, uint64_t) {
  return result(run.packet.adjust_tail(static_cast<int32_t>(delta)));
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(xdp_adjust_head, kXdp, R::integer, {A::context, A::any}, xdp_adjust_head,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(xdp_adjust_meta, kXdp, R::integer, {A::context, A::any}, xdp_adjust_meta,
                kAnyLicense, kChangesPacket),
    XNIC_HELPER(xdp_adjust_tail, kXdp, R::integer, {A::context, A::any}, xdp_adjust_tail,
                kAnyLicense, kChangesPacket),
};

}  // namespace

std::span<const Helper> xdp_helpers() { return kRows; }

}  // namespace xnic::vm
