// Helpers that send a packet elsewhere.
#include <linux/pkt_cls.h>

#include "vm/helpers/rows.h"

namespace xnic::vm {
namespace {

uint64_t xdp_redirect(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                      uint64_t) {
  if (flags != 0) return XDP_ABORTED;
  run.redirect = {static_cast<uint32_t>(ifindex), 0, true};
  return XDP_REDIRECT;
}

uint64_t tc_redirect(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                     uint64_t) {
  if ((flags & ~static_cast<uint64_t>(BPF_F_INGRESS)) != 0) return TC_ACT_SHOT;
  run.redirect = {static_cast<uint32_t>(ifindex), flags, true};
  return TC_ACT_REDIRECT;
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(redirect, kXdp, R::integer, {A::any, A::any}, xdp_redirect),
    XNIC_HELPER(redirect, kTc, R::integer, {A::any, A::any}, tc_redirect),
};

}  // namespace

std::span<const Helper> redirect_helpers() { return kRows; }

}  // namespace xnic::vm
