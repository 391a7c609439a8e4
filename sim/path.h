#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "nic/profile.h"
#include "nic/time.h"
#include "sim/outcome.h"
#include "traces/player.h"
#include "vm/hook.h"
#include "vm/invocation.h"
#include "vm/packet.h"

namespace xnic::sim {

// nic0's interface index; lo is 1.
inline constexpr uint32_t kNic0 = 2;

// What the steps of a packet's way take. All zero where time is not modelled.
struct PathCosts {
  nic::Picoseconds hook = 0;  // a run of a program, apart from its instructions
  nic::Picoseconds instruction = 0;
  nic::Picoseconds xdp_pass = 0;
  nic::Picoseconds xdp_tx = 0;
  nic::Picoseconds xdp_redirect = 0;
  nic::Picoseconds build_skb = 0;
  nic::Picoseconds receive_skb = 0;
};
PathCosts host_costs(const nic::NicProfile& profile);
PathCosts offload_costs(const nic::NicProfile& profile);

// One packet's way through the hooks: where it is in time, and what has happened to it.
struct Way {
  vm::Packet& packet;
  vm::Environment& environment;
  Outcome& outcome;
  nic::Picoseconds now = 0;
  // Where a cpumap took the packet from another CPU: which, until its way ends.
  std::optional<uint32_t> came_from_cpu{};
};

// A frame of the capture enters at nic0.
void enter(const traces::Frame& frame, vm::Packet& packet, Outcome& outcome);

// A packet's way ends here for this reason, at `now`.
void drop(Outcome& outcome, DropReason reason, nic::Picoseconds now);

// What happens to a packet between the hooks of nic0. Timed and untimed runs both call it, with
// other costs. Each step moves way.now on by what it took.
class Path {
 public:
  // The hooks must outlive the path.
  Path(Hooks& hooks, const PathCosts& costs) : hooks_(hooks), costs_(costs) {}

  // Told of each copy of a packet that leaves an interface beside the packet itself, as a broadcast
  // makes them. May be empty.
  using CopySent = std::function<void(const vm::Packet&, uint32_t ifindex, nic::Picoseconds)>;
  void set_copy_sent(CopySent copy_sent) { copy_sent_ = std::move(copy_sent); }

  bool attached(vm::HookPoint point) const { return hook(point).attached(); }

  // The offloaded and the native XDP program. True if the packet goes on; if not, the outcome says
  // how its way ended.
  bool offload(Way& way) { return xdp(way, vm::HookPoint::xdp_offload); }
  bool native(Way& way);
  // From the sk_buff on: generic XDP, tc ingress, and delivery or tc egress and transmission. The
  // way has ended when it returns, with the VLAN tag back in the bytes, as a tap shows them.
  void stack(Way& way);

 private:
  const vm::Hook& hook(vm::HookPoint point) const { return hooks_[static_cast<size_t>(point)]; }
  vm::HookResult run(Way& way, vm::HookPoint point);
  bool xdp(Way& way, vm::HookPoint point);
  // What an XDP program's redirect leads to. True if the packet goes on up the stack.
  bool xdp_redirected(Way& way, const vm::Redirect& redirect);
  bool to_cpu(Way& way, const vm::Redirect& redirect);
  void to_all(Way& way, const vm::Redirect& redirect);
  void to_device(Way& way, const vm::RedirectEntry& entry);
  void leave(Way& way, uint32_t ifindex);
  void ingress(Way& way);
  void redirected(Way& way, const vm::Redirect& redirect);
  void egress(Way& way);

  Hooks& hooks_;
  PathCosts costs_;
  CopySent copy_sent_;
};

}  // namespace xnic::sim
