// Helpers that send a packet elsewhere. They only note where; what follows is the hook's
// (sim/path.h).
// Test: tests/bpf/misc_helpers, tests/bpf/redirects, compared with Linux by tests/differential.
#include <linux/pkt_cls.h>

#include <cstring>

#include "vm/helpers/rows.h"

namespace xnic::vm {
namespace {

uint64_t xdp_redirect(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                      uint64_t) {
  if (flags != 0) return XDP_ABORTED;
  run.redirect = {.kind = Redirect::Kind::interface, .ifindex = static_cast<uint32_t>(ifindex)};
  return XDP_REDIRECT;
}

// The two low flags are the answer where the map has no entry. Only a devmap broadcasts.
uint64_t redirect_map(Invocation& run, uint64_t map, uint64_t key, uint64_t flags, uint64_t,
                      uint64_t) {
  constexpr uint64_t kAnswer = XDP_ABORTED | XDP_DROP | XDP_PASS | XDP_TX;
  Map& targets = map_at(map);
  const bool broadcasts =
      targets.spec().type == BPF_MAP_TYPE_DEVMAP || targets.spec().type == BPF_MAP_TYPE_DEVMAP_HASH;
  const uint64_t known = kAnswer | (broadcasts ? BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS : 0);
  if ((flags & ~known) != 0) return XDP_ABORTED;
  std::optional<RedirectEntry> entry = targets.redirect_entry(static_cast<uint32_t>(key));
  const bool to_all = (flags & BPF_F_BROADCAST) != 0;
  if (!entry && !to_all) {
    run.redirect = {};
    return flags & kAnswer;
  }
  run.redirect = {.kind = Redirect::Kind::map,
                  .flags = to_all ? flags : 0,
                  .map = &targets,
                  .key = static_cast<uint32_t>(key)};
  if (!to_all) run.redirect.entry = std::move(*entry);
  return XDP_REDIRECT;
}

uint64_t tc_redirect(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                     uint64_t) {
  if ((flags & ~static_cast<uint64_t>(BPF_F_INGRESS)) != 0) return TC_ACT_SHOT;
  run.redirect = {
      .kind = Redirect::Kind::interface, .ifindex = static_cast<uint32_t>(ifindex), .flags = flags};
  return TC_ACT_REDIRECT;
}

// Out of the interface, with the Ethernet addresses of the next hop, which the routes give if the
// program does not.
uint64_t redirect_neigh(Invocation& run, uint64_t ifindex, uint64_t params, uint64_t size,
                        uint64_t flags, uint64_t) {
  bpf_redir_neigh next_hop{};
  if ((size != 0 && size < sizeof(next_hop)) || flags != 0) return TC_ACT_SHOT;
  run.redirect = {.kind = Redirect::Kind::neighbour, .ifindex = static_cast<uint32_t>(ifindex)};
  if (size != 0) {
    std::memcpy(&next_hop, bytes_at(params), sizeof(next_hop));
    run.redirect.next_hop = next_hop;
  }
  return TC_ACT_REDIRECT;
}

uint64_t redirect_peer(Invocation& run, uint64_t ifindex, uint64_t flags, uint64_t, uint64_t,
                       uint64_t) {
  if (flags != 0) return TC_ACT_SHOT;
  run.redirect = {.kind = Redirect::Kind::peer, .ifindex = static_cast<uint32_t>(ifindex)};
  return TC_ACT_REDIRECT;
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(redirect, kXdp, R::integer, {A::any, A::any}, xdp_redirect),
    XNIC_HELPER(redirect, kTc | kLwtXmit, R::integer, {A::any, A::any}, tc_redirect),
    XNIC_HELPER(redirect_map, kXdp, R::integer, {A::map, A::any, A::any}, redirect_map),
    XNIC_HELPER(redirect_neigh, kTc, R::integer,
                {A::any, A::memory_read_or_null, A::size_or_zero, A::any}, redirect_neigh),
    XNIC_HELPER(redirect_peer, kTc, R::integer, {A::any, A::any}, redirect_peer),
};

}  // namespace

std::span<const Helper> redirect_helpers() { return kRows; }

}  // namespace xnic::vm
