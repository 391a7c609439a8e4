#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "nic/core_model.h"
#include "nic/profile.h"
#include "nic/time.h"
#include "sim/interface_hooks.h"
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
  nic::Picoseconds free_skb = 0;
  nic::Picoseconds forward = 0;
  std::shared_ptr<const nic::CoreModel> core = nullptr;  // which runs programs, if it is a model's

  bool operator==(const PathCosts&) const = default;
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
  bool in_card = false;       // at xdp.offload
  bool built = false;         // it is an sk_buff
  bool redirected = false;    // a tc program sent it, and generic XDP leaves it alone
  uint32_t nested_sends = 0;  // by tc programs out of interfaces, each within the one before
  nic::CoreWork work = {};    // of the programs of hooks that it passed
  nic::Picoseconds miss = 0;  // what the first touch of its bytes will take longer
  uint32_t rounds = 0;        // how often it, or a copy of it, came in anew within the machine
};

// A frame of a capture enters at an interface.
void enter(const traces::Frame& frame, vm::Packet& packet, Outcome& outcome,
           uint32_t ifindex = kNic0);
// The same where the packet has the frame's bytes already, and nothing else.
inline void begin(const traces::Frame& frame, vm::Packet& packet, Outcome& outcome,
                  uint32_t ifindex) {
  packet.id = frame.id;
  packet.ifindex = ifindex;
  packet.ingress_ifindex = ifindex;
  packet.rx_timestamp_ns = frame.time_ps / nic::kPicosecondsPerNanosecond;
  outcome.packet_id = frame.id;
  outcome.arrival_ps = frame.time_ps;
  outcome.end_ps = frame.time_ps;
  outcome.queue = 0;
  outcome.in_ifindex = ifindex;
  outcome.out_ifindex = 0;
  outcome.end = End::delivered;
  outcome.reason = DropReason::none;
  outcome.events.clear();
  outcome.copies = {};
}

// Its way ends: delivered or transmitted (by out_ifindex), or for this reason.
void end(Way& way, End how);
void drop(Way& way, DropReason reason);
// A packet's way ends here for this reason, at `now`.
inline void drop(Outcome& outcome, DropReason reason, nic::Picoseconds now) {
  outcome.end = End::dropped;
  outcome.reason = reason;
  outcome.end_ps = now;
}
// The same for one that is delivered or transmitted.
inline void end(Outcome& outcome, End how, nic::Picoseconds now) {
  outcome.end = how;
  outcome.reason = DropReason::none;
  outcome.end_ps = now;
}

// What happens to a packet between the hooks of the machine's interfaces. Timed and untimed runs
// both call it, with other costs. Each step moves way.now on by what it took.
//
// What leaves by one end of a veth pair whose other end is in the network comes in there, and what
// leaves by lo at lo: it passes that interface's hooks and goes on. As in Linux, tc programs may
// send a packet out of interfaces nine times, each within the one before. Where Linux would let a
// packet come in again without end, it is lost after kMaxRounds.
class Path {
 public:
  static constexpr uint32_t kMaxRounds = 256;

  // The hooks must outlive the path.
  Path(InterfaceHooks hooks, const PathCosts& costs) : hooks_(std::move(hooks)), costs_(costs) {}

  // Told of each packet that leaves an interface while its story goes on: copies, and what goes on
  // at the other end of a veth pair. May be empty.
  using CopySent = std::function<void(const vm::Packet&, uint32_t ifindex, nic::Picoseconds)>;
  void set_copy_sent(CopySent copy_sent) { copy_sent_ = std::move(copy_sent); }
  // Told of each packet that a socket of an xskmap receives, by RedirectEntry::socket. May be
  // empty.
  using SocketReceived = std::function<void(const vm::Packet&, uint64_t socket, nic::Picoseconds)>;
  void set_socket_received(SocketReceived received) { socket_received_ = std::move(received); }

  // Asked for each packet that native XDP sends to a CPU by a cpumap, whether that CPU takes it:
  // then its way is over here, and arrive_at_cpu() there has the rest. May be empty: the packet
  // stays.
  using CpuTakes = std::function<bool(const vm::Redirect&)>;
  void set_cpu_takes(CpuTakes takes) { cpu_takes_ = std::move(takes); }

  // The first XDP program's hook at an interface; null where there is none.
  const vm::Hook* first_xdp(uint32_t ifindex) const;

  // Whether outcomes name each hook that a packet passed, as they do unless told otherwise.
  void set_keeps_events(bool keeps) { keeps_events_ = keeps; }

  // What all packets that come in at an interface have in common, looked up once for a burst of
  // them. Valid until programs are attached or detached.
  class Arrivals {
   public:
    Arrivals(Path& path, uint32_t ifindex, const vm::Network& network);
    uint32_t ifindex() const { return ifindex_; }

    // How the way of a packet ends that its XDP program takes where most go; the others' is not
    // known yet.
    enum class Fate : uint8_t { dropped, transmitted, delivered, other };
    // Whether there is a program, and nothing is to be done for its run but to run it.
    bool plain() const { return xdp_.has_value(); }
    // Runs it. The clock is the caller's to set.
    Fate run(vm::Invocation& invocation, vm::Action& action) {
      action = xdp_->run(invocation);
      if (action == vm::Action::drop) return Fate::dropped;
      if (action == vm::Action::tx && leaves_) return Fate::transmitted;
      if (action == vm::Action::pass && ends_) return Fate::delivered;
      return Fate::other;
    }
    // What follows Fate::other, to the end.
    void go_on(vm::Invocation& invocation, vm::Action action, Outcome& outcome,
               nic::Picoseconds now) {
      path_.go_on_slowly(invocation, action, outcome, now);
    }

    // The packet's way from the native XDP program to its end: what native() and stack() do.
    void run(vm::Packet& packet, vm::Environment& environment, Outcome& outcome,
             nic::Picoseconds now) {
      if (!plain()) return path_.run_slowly(packet, environment, outcome, now);
      environment.now_ns = now / nic::kPicosecondsPerNanosecond;
      vm::Invocation invocation(packet, environment);
      vm::Action action;
      switch (run(invocation, action)) {
        case Fate::dropped:
          return drop(outcome, DropReason::xdp_drop, now);
        case Fate::transmitted:
          outcome.out_ifindex = ifindex_;
          return end(outcome, End::transmitted, now);
        case Fate::delivered:
          return end(outcome, End::delivered, now);
        case Fate::other:
          return go_on(invocation, action, outcome, now);
      }
    }

   private:
    Path& path_;
    uint32_t ifindex_;
    // The XDP program, where nothing is to be done for a run but to run it.
    std::optional<vm::Hook::Single> xdp_{};
    bool leaves_;  // what is sent out of the interface leaves the machine
    bool ends_;    // what passes XDP is delivered: no program behind it, no forwarding
  };

  // The XDP program at a hook of an interface, looked up once for packets that pass it one after
  // the other, with the time that it takes: what native() and offload() do. Valid until programs
  // are attached or detached.
  class Xdp {
   public:
    Xdp(Path& path, vm::HookPoint point, uint32_t ifindex);

    bool attached() const { return attached_; }
    // True if the packet goes on; if not, the outcome says how its way ended.
    bool run(Way& way) {
      if (!single_) return path_.pass(way, point_);
      way.environment.now_ns = way.now / nic::kPicosecondsPerNanosecond;
      vm::Invocation invocation(way.packet, way.environment);
      const vm::Action action = single_->run(invocation);
      way.now += path_.costs_.hook + invocation.instructions * path_.costs_.instruction;
      if (looks_at_packet_) way.now += std::exchange(way.miss, 0);
      way.work.instructions += invocation.instructions;
      way.work.cost += invocation.cost;
      if (action != vm::Action::drop) return path_.go_on(way, point_, action, invocation);
      drop(way.outcome, DropReason::xdp_drop, way.now);
      return false;
    }

   private:
    Path& path_;
    vm::HookPoint point_;
    bool attached_;
    bool looks_at_packet_ = false;
    std::optional<vm::Hook::Single> single_{};  // where nobody wants to know of each run
  };

  // At the interface that packets enter at by default.
  bool attached(vm::HookPoint point, uint32_t ifindex = kNic0) const {
    return hook_at(point, ifindex) != nullptr;
  }

  // The offloaded and the native XDP program. True if the packet goes on; if not, the outcome says
  // how its way ended.
  bool offload(Way& way) { return pass(way, vm::HookPoint::xdp_offload); }
  bool native(Way& way) { return pass(way, vm::HookPoint::xdp_native); }
  // What a CPU does with a packet that came to it through this entry of a cpumap: the entry's
  // program, and the rest of the packet's way.
  void arrive_at_cpu(Way& way, const vm::RedirectEntry& entry);
  // From the sk_buff on: generic XDP, tc ingress, and delivery or tc egress and transmission. The
  // way has ended when it returns, with the VLAN tag back in the bytes, as a tap shows them.
  void stack(Way& way);

 private:
  enum class Next : uint8_t {
    ended,  // its way has
    on,     // it passes the hook
    up,     // it starts up the stack of packet.ifindex
  };

  // Null where nothing is attached.
  vm::Hook* hook_at(vm::HookPoint point, uint32_t ifindex) const {
    Hooks* hooks = hooks_.of(ifindex);
    if (hooks == nullptr) return nullptr;
    vm::Hook& hook = (*hooks)[static_cast<size_t>(point)];
    return hook.attached() ? &hook : nullptr;
  }
  vm::HookResult run(Way& way, vm::Hook& hook, vm::Invocation& invocation);
  void run_slowly(vm::Packet& packet, vm::Environment& environment, Outcome& outcome,
                  nic::Picoseconds now);
  bool pass(Way& way, vm::HookPoint point);
  // The same from the program's action on, with what its run took added to way.now.
  bool go_on(Way& way, vm::HookPoint point, vm::Action action, const vm::Invocation& invocation);
  // From the native XDP program's action on.
  void go_on_slowly(vm::Invocation& invocation, vm::Action action, Outcome& outcome,
                    nic::Picoseconds now);
  Next xdp(Way& way, vm::HookPoint point);
  Next after_xdp(Way& way, vm::HookPoint point, vm::Action action, const vm::Redirect& redirect);
  Next receive(Way& way);
  Next ingress(Way& way);
  Next ip(Way& way);
  Next egress(Way& way, uint32_t ifindex);
  Next after_tc(Way& way, const vm::HookResult& result, const vm::Redirect& redirect);

  // sim/path_redirect.cpp
  Next xdp_redirected(Way& way, const vm::Redirect& redirect);
  Next to_cpu(Way& way, const vm::Redirect& redirect);
  Next at_cpu(Way& way, const vm::RedirectEntry& entry);
  Next to_socket(Way& way, const vm::Redirect& redirect);
  Next to_all(Way& way, const vm::Redirect& redirect);
  Next to_device(Way& way, const vm::RedirectEntry& entry);
  Next tc_redirected(Way& way, const vm::Redirect& redirect);
  Next send(Way& way, uint32_t ifindex);
  Next come_in(Way& way, uint32_t ifindex);
  void send_clone(Way& way, vm::Packet& clone, const vm::Redirect& to);
  void finish_copy(Way& way, Way& copy, Next next);

  InterfaceHooks hooks_;
  PathCosts costs_;
  CopySent copy_sent_;
  SocketReceived socket_received_;
  CpuTakes cpu_takes_;
  bool keeps_events_ = true;
};

}  // namespace xnic::sim
