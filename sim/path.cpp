// The meaning of a packet's way through the hooks, written once for every clock.
// It leaves out: GRO, sockets, queues of interfaces (qdiscs), and what other
// namespaces do with packets that are handed to them. Redirects are in sim/path_redirect.cpp.
// Test: tests/sim/path_test.cpp, and against the kernel tests/sim/stack_kernel_test.cpp.
#include "sim/path.h"

#include <algorithm>
#include <utility>

#include "sim/forward.h"
#include "sim/redirect.h"

namespace xnic::sim {
namespace {

// A CPU that borrowed another's environment gives it back.
void leave_cpu(Way& way) {
  if (way.came_from_cpu) way.environment.cpu = *way.came_from_cpu;
  way.came_from_cpu.reset();
}

// What eth_type_trans makes of the packet at its interface.
void classify(Way& way) {
  vm::Packet& packet = way.packet;
  const vm::Interface* device = way.environment.network->by_index(packet.ifindex);
  // What an interface without an address of its own receives is for it.
  const bool has_address = device != nullptr && (device->mac != vm::MacAddress{} ||
                                                 device->ifindex == vm::kLoopbackIfindex);
  if (has_address) {
    packet.classify_ethernet(std::span(device->mac));
  } else {
    packet.classify_ethernet(packet.linear().first<6>());
  }
}

// The CPU touches the packet's bytes.
void touch(Way& way) { way.now += std::exchange(way.miss, 0); }

// Whether an XDP program looks at the packet: whether it loads xdp_md's `data`.
bool looks_at_packet(const vm::Program& program) {
  return std::ranges::any_of(program.instructions(), [](const bpf_insn& insn) {
    return insn.code == (BPF_LDX | BPF_MEM | BPF_W) && insn.off == offsetof(xdp_md, data);
  });
}

// What the driver makes of the packet.
void build_skb(Way& way) {
  way.packet.skb.queue_mapping = way.packet.rx_queue_index + 1;
  way.packet.skb.hash = way.packet.rx_hash;
  if (way.packet.rx_vlan) {
    way.packet.skb.vlan_present = true;
    way.packet.skb.vlan_proto = way.packet.rx_vlan->protocol;
    way.packet.skb.vlan_tci = way.packet.rx_vlan->tci;
  }
  way.built = true;
}

}  // namespace

void end(Way& way, End how) {
  leave_cpu(way);
  end(way.outcome, how, way.now);
}

void drop(Way& way, DropReason reason) {
  leave_cpu(way);
  drop(way.outcome, reason, way.now);
}

PathCosts host_costs(const nic::NicProfile& profile) {
  const auto cost = [](const nic::Quantity& nanoseconds) {
    return nic::from_nanoseconds(nanoseconds.value);
  };
  return {.hook = cost(profile.hook_ns),
          .instruction = cost(profile.instruction_ns),
          .xdp_pass = cost(profile.xdp_pass_ns),
          .xdp_tx = cost(profile.xdp_tx_ns),
          .xdp_redirect = cost(profile.xdp_redirect_ns),
          .build_skb = cost(profile.build_skb_ns) + cost(profile.page_ns),
          .receive_skb = cost(profile.receive_skb_ns),
          .free_skb = cost(profile.free_skb_ns),
          .forward = cost(profile.forward_ns)};
}

PathCosts offload_costs(const nic::NicProfile& profile) {
  PathCosts costs;
  costs.core = nic::make_core_model(profile);
  return costs;
}

void enter(const traces::Frame& frame, vm::Packet& packet, Outcome& outcome, uint32_t ifindex) {
  packet.assign(frame.bytes);
  begin(frame, packet, outcome, ifindex);
}

const vm::Hook* Path::first_xdp(uint32_t ifindex) const {
  for (const auto point :
       {vm::HookPoint::xdp_offload, vm::HookPoint::xdp_native, vm::HookPoint::xdp_generic}) {
    if (const vm::Hook* hook = hook_at(point, ifindex)) return hook;
  }
  return nullptr;
}

vm::HookResult Path::run(Way& way, vm::Hook& hook, vm::Invocation& invocation) {
  const uint32_t ifindex = way.packet.ifindex;
  const auto set_clock = [&] { way.environment.now_ns = way.now / nic::kPicosecondsPerNanosecond; };
  set_clock();
  const vm::HookResult result =
      hook.run(invocation, [&](const vm::Program& program, const vm::HookResult& one) {
        way.now += costs_.hook + one.instructions * costs_.instruction;
        if (way.miss != 0 && looks_at_packet(program)) touch(way);
        way.work.instructions += one.instructions;
        way.work.cost += one.cost;
        if (costs_.core != nullptr) {
          const auto time = costs_.core->time({one.instructions, one.cost});
          way.now += time.computes + time.waits;
        }
        if (keeps_events_) {
          way.outcome.events.push_back({hook.point(), &program, one, way.now, ifindex, false});
        }
        set_clock();
      });
  for (const vm::Clone& clone : invocation.clones) send_clone(way, *clone.packet, clone.to);
  return result;
}

Path::Next Path::xdp(Way& way, vm::HookPoint point) {
  vm::Hook* hook = hook_at(point, way.packet.ifindex);
  if (hook == nullptr) return Next::on;
  vm::Invocation invocation(way.packet, way.environment);
  return after_xdp(way, point, run(way, *hook, invocation).action, invocation.redirect);
}

Path::Next Path::after_xdp(Way& way, vm::HookPoint point, vm::Action action,
                           const vm::Redirect& redirect) {
  switch (action) {
    case vm::Action::pass:
      if (point == vm::HookPoint::xdp_native) way.now += costs_.xdp_pass;
      return Next::on;
    case vm::Action::drop:
    case vm::Action::consumed:
      drop(way, DropReason::xdp_drop);
      return Next::ended;
    case vm::Action::aborted:
      drop(way, DropReason::xdp_aborted);
      return Next::ended;
    case vm::Action::tx:
      way.now += costs_.xdp_tx;
      return send(way, way.packet.ifindex);
    case vm::Action::redirect:
      way.now += costs_.xdp_redirect;
      return xdp_redirected(way, redirect);
  }
  return Next::on;
}

Path::Arrivals::Arrivals(Path& path, uint32_t ifindex, const vm::Network& network)
    : path_(path),
      ifindex_(ifindex),
      leaves_(other_end(network, ifindex) == 0),
      ends_(!path.attached(vm::HookPoint::xdp_generic, ifindex) &&
            !path.attached(vm::HookPoint::tc_ingress, ifindex) && !forwards(network, ifindex)) {
  vm::Hook* hook = path.hook_at(vm::HookPoint::xdp_native, ifindex);
  // Events, and time that programs take, are kept for each run of a hook.
  const bool plain = !path.keeps_events_ && path.costs_ == PathCosts();
  if (hook != nullptr && plain) xdp_ = hook->single_xdp();
}

void Path::run_slowly(vm::Packet& packet, vm::Environment& environment, Outcome& outcome,
                      nic::Picoseconds now) {
  Way way{packet, environment, outcome, now};
  if (native(way)) stack(way);
}

void Path::go_on_slowly(vm::Invocation& invocation, vm::Action action, Outcome& outcome,
                        nic::Picoseconds now) {
  Way way{invocation.packet, invocation.environment, outcome, now};
  const Next next = after_xdp(way, vm::HookPoint::xdp_native, action, invocation.redirect);
  if (next != Next::ended) stack(way);
}

Path::Xdp::Xdp(Path& path, vm::HookPoint point, uint32_t ifindex)
    : path_(path), point_(point), attached_(path.attached(point, ifindex)) {
  if (!attached_ || path.keeps_events_) return;
  vm::Hook* hook = path.hook_at(point, ifindex);
  single_ = hook->single_xdp();
  looks_at_packet_ = looks_at_packet(*hook->single().program);
}

bool Path::go_on(Way& way, vm::HookPoint point, vm::Action action,
                 const vm::Invocation& invocation) {
  if (costs_.core != nullptr) {
    const auto time = costs_.core->time({invocation.instructions, invocation.cost});
    way.now += time.computes + time.waits;
  }
  way.environment.now_ns = way.now / nic::kPicosecondsPerNanosecond;
  way.in_card = point == vm::HookPoint::xdp_offload;
  const Next next = after_xdp(way, point, action, invocation.redirect);
  way.in_card = false;
  return next != Next::ended;
}

bool Path::pass(Way& way, vm::HookPoint point) {
  way.in_card = point == vm::HookPoint::xdp_offload;
  const Next next = xdp(way, point);
  way.in_card = false;
  return next != Next::ended;
}

void Path::stack(Way& way) {
  while (receive(way) == Next::up) {
  }
  way.packet.retag_vlan();
}

Path::Next Path::receive(Way& way) {
  if (!way.built) {
    way.now += costs_.build_skb;
    touch(way);
    build_skb(way);
  }
  classify(way);
  if (!way.redirected) {
    const Next next = xdp(way, vm::HookPoint::xdp_generic);
    if (next != Next::on) return next;
    // The program may have rewritten the header.
    classify(way);
  }
  way.now += costs_.receive_skb;
  way.packet.receive();
  // Linux counts it before the programs' view of the packet gets its Ethernet header back.
  way.packet.skb.wire_len = way.packet.length() - vm::kEthernetHeader;
  way.redirected = false;
  return ingress(way);
}

Path::Next Path::ingress(Way& way) {
  vm::Hook* hook = hook_at(vm::HookPoint::tc_ingress, way.packet.ifindex);
  if (hook == nullptr) return ip(way);
  vm::Invocation invocation(way.packet, way.environment);
  const vm::HookResult result = run(way, *hook, invocation);
  if (result.action == vm::Action::pass) return ip(way);
  return after_tc(way, result, invocation.redirect);
}

// Up to a socket, or out again.
Path::Next Path::ip(Way& way) {
  const Forwarding forwarding = forward(*way.environment.network, way.packet);
  if (forwarding.fate == Forwarding::Fate::sent) {
    way.now += costs_.forward;
    return egress(way, forwarding.ifindex);
  }
  way.now += costs_.free_skb;
  if (forwarding.fate == Forwarding::Fate::lost) {
    drop(way, DropReason::not_forwarded);
  } else {
    end(way, End::delivered);
  }
  return Next::ended;
}

// Out of an interface as dev_queue_xmit does it.
Path::Next Path::egress(Way& way, uint32_t ifindex) {
  constexpr uint32_t kDeepest = 8;  // what Linux's counter may reach
  vm::Packet& packet = way.packet;
  if (way.nested_sends > kDeepest) {
    drop(way, DropReason::tc_redirect);
    return Next::ended;
  }
  ++way.nested_sends;
  way.redirected = true;
  packet.ifindex = ifindex;
  packet.skb.at_ingress = false;
  packet.skb.wire_len = packet.length();
  vm::Hook* hook = hook_at(vm::HookPoint::tc_egress, ifindex);
  if (hook == nullptr) return send(way, ifindex);
  vm::Invocation invocation(packet, way.environment);
  const vm::HookResult result = run(way, *hook, invocation);
  if (result.action == vm::Action::pass) return send(way, ifindex);
  return after_tc(way, result, invocation.redirect);
}

// Where a tc program does not let the packet pass.
Path::Next Path::after_tc(Way& way, const vm::HookResult& result, const vm::Redirect& redirect) {
  const bool faults = result.fault || result.action == vm::Action::aborted;
  if (!faults && result.action == vm::Action::redirect) return tc_redirected(way, redirect);
  way.now += costs_.free_skb;
  if (faults) {
    drop(way, DropReason::tc_fault);
  } else if (result.action == vm::Action::consumed) {
    drop(way, DropReason::tc_consumed);
  } else {
    drop(way, DropReason::tc_shot);
  }
  return Next::ended;
}

}  // namespace xnic::sim
