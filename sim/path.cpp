// The meaning of a packet's way through the hooks, written once for every clock.
// It leaves out: GRO, sockets, forwarding by routes, programs on interfaces other than nic0 (what
// is redirected to them leaves, or is delivered), a second pass over tc ingress after BPF_F_INGRESS
// (the packet is delivered), and PACKET_OTHERHOST, since nic0 has no address of its own.
// Test: tests/sim/path_test.cpp.
#include "sim/path.h"

#include "sim/redirect.h"
#include "vm/map.h"

namespace xnic::sim {
namespace {

// A CPU that borrowed another's environment gives it back.
void leave_cpu(Way& way) {
  if (way.came_from_cpu) way.environment.cpu = *way.came_from_cpu;
  way.came_from_cpu.reset();
}

void end(Way& way, End how) {
  leave_cpu(way);
  way.outcome.end = how;
  way.outcome.reason = DropReason::none;
  way.outcome.end_ps = way.now;
}

void transmit(Way& way, uint32_t ifindex) {
  way.outcome.out_ifindex = ifindex;
  end(way, End::transmitted);
}

void drop(Way& way, DropReason reason) {
  leave_cpu(way);
  drop(way.outcome, reason, way.now);
}

// What the driver and eth_type_trans make of the packet.
void build_skb(vm::Packet& packet) {
  // nic0 has no address of its own: what it receives is for it.
  packet.classify_ethernet(packet.linear().first<6>());
  packet.skb.queue_mapping = packet.rx_queue_index + 1;
  packet.skb.hash = packet.rx_hash;
  packet.skb.wire_len = packet.length();
}

}  // namespace

PathCosts host_costs(const nic::NicProfile& profile) {
  const auto cost = [](const nic::Quantity& nanoseconds) {
    return nic::from_nanoseconds(nanoseconds.value);
  };
  return {.hook = cost(profile.hook_ns),
          .instruction = cost(profile.instruction_ns),
          .xdp_pass = cost(profile.xdp_pass_ns),
          .xdp_tx = cost(profile.xdp_tx_ns),
          .xdp_redirect = cost(profile.xdp_redirect_ns),
          .build_skb = cost(profile.build_skb_ns),
          .receive_skb = cost(profile.receive_skb_ns)};
}

PathCosts offload_costs(const nic::NicProfile& profile) {
  return {.hook = nic::from_nanoseconds(profile.offload_fixed_ns.value),
          .instruction = nic::from_nanoseconds(profile.offload_instruction_ns.value)};
}

void enter(const traces::Frame& frame, vm::Packet& packet, Outcome& outcome) {
  packet.assign(frame.bytes);
  packet.id = frame.id;
  packet.ifindex = kNic0;
  packet.ingress_ifindex = kNic0;
  packet.rx_queue_index = 0;
  packet.rx_hash = 0;
  packet.rx_timestamp_ns = frame.time_ps / nic::kPicosecondsPerNanosecond;
  outcome.packet_id = frame.id;
  outcome.arrival_ps = frame.time_ps;
  outcome.end_ps = frame.time_ps;
  outcome.queue = 0;
  outcome.out_ifindex = 0;
  outcome.end = End::delivered;
  outcome.reason = DropReason::none;
  outcome.events.clear();
}

void drop(Outcome& outcome, DropReason reason, nic::Picoseconds now) {
  outcome.end = End::dropped;
  outcome.reason = reason;
  outcome.end_ps = now;
}

vm::HookResult Path::run(Way& way, vm::HookPoint point) {
  vm::Hook& attached = hooks_[static_cast<size_t>(point)];
  const auto set_clock = [&] { way.environment.now_ns = way.now / nic::kPicosecondsPerNanosecond; };
  set_clock();
  return attached.run(way.packet, way.environment,
                      [&](const vm::Program& program, const vm::HookResult& result) {
                        way.now += costs_.hook + result.instructions * costs_.instruction;
                        way.outcome.events.push_back({point, &program, result, way.now});
                        set_clock();
                      });
}

bool Path::xdp(Way& way, vm::HookPoint point) {
  if (!attached(point)) return true;
  const vm::HookResult result = run(way, point);
  switch (result.action) {
    case vm::Action::pass:
      return true;
    case vm::Action::drop:
    case vm::Action::consumed:
      drop(way, DropReason::xdp_drop);
      return false;
    case vm::Action::aborted:
      drop(way, DropReason::xdp_aborted);
      return false;
    case vm::Action::tx:
      way.now += costs_.xdp_tx;
      transmit(way, kNic0);
      return false;
    case vm::Action::redirect:
      way.now += costs_.xdp_redirect;
      return xdp_redirected(way, result.redirect);
  }
  return true;
}

bool Path::xdp_redirected(Way& way, const vm::Redirect& redirect) {
  if (redirect.kind == vm::Redirect::Kind::interface) {
    leave(way, redirect.ifindex);
    return false;
  }
  if (redirect.kind != vm::Redirect::Kind::map) {
    drop(way, DropReason::xdp_redirect);
    return false;
  }
  switch (redirect.map->spec().type) {
    case BPF_MAP_TYPE_CPUMAP:
      return to_cpu(way, redirect);
    case BPF_MAP_TYPE_XSKMAP:
      // The socket has it.
      end(way, End::delivered);
      return false;
    default:
      if ((redirect.flags & BPF_F_BROADCAST) != 0) {
        to_all(way, redirect);
      } else if (takes_xdp(*way.environment.network, redirect.entry.ifindex, way.packet.length())) {
        to_device(way, redirect.entry);
      } else {
        drop(way, DropReason::xdp_redirect);
      }
      return false;
  }
}

void Path::leave(Way& way, uint32_t ifindex) {
  if (takes_xdp(*way.environment.network, ifindex, way.packet.length())) {
    transmit(way, ifindex);
  } else {
    drop(way, DropReason::xdp_redirect);
  }
}

// The rest of the way is the other CPU's; its own time is not modelled.
bool Path::to_cpu(Way& way, const vm::Redirect& redirect) {
  if (!way.came_from_cpu) way.came_from_cpu = way.environment.cpu;
  way.environment.cpu = redirect.key;
  vm::Redirect next;
  uint64_t instructions = 0;
  const vm::Action action =
      run_entry_program(redirect.entry, 0, way.packet, way.environment, next, instructions);
  way.now += instructions * costs_.instruction;
  switch (action) {
    case vm::Action::pass:
      return true;
    case vm::Action::redirect:
      // A CPU does not hand on to a CPU.
      if (next.kind == vm::Redirect::Kind::map && next.map->spec().type == BPF_MAP_TYPE_CPUMAP) {
        drop(way, DropReason::xdp_redirect);
        return false;
      }
      return xdp_redirected(way, next);
    case vm::Action::drop:
      drop(way, DropReason::xdp_drop);
      return false;
    default:
      drop(way, DropReason::xdp_aborted);
      return false;
  }
}

void Path::to_device(Way& way, const vm::RedirectEntry& entry) {
  vm::Redirect ignored;
  uint64_t instructions = 0;
  const vm::Action action =
      run_entry_program(entry, entry.ifindex, way.packet, way.environment, ignored, instructions);
  way.now += instructions * costs_.instruction;
  if (action == vm::Action::pass) return transmit(way, entry.ifindex);
  drop(way, action == vm::Action::drop ? DropReason::xdp_drop : DropReason::xdp_aborted);
}

void Path::to_all(Way& way, const vm::Redirect& redirect) {
  const std::vector<vm::RedirectEntry> targets =
      broadcast_targets(*way.environment.network, redirect, way.packet);
  if (targets.empty()) return drop(way, DropReason::xdp_redirect);
  // The packet itself goes to the last.
  for (size_t i = 0; i + 1 < targets.size(); ++i) {
    vm::Packet copy(way.packet.bytes());
    copy.id = way.packet.id;
    copy.ingress_ifindex = way.packet.ingress_ifindex;
    copy.rx_queue_index = way.packet.rx_queue_index;
    vm::Redirect ignored;
    uint64_t instructions = 0;
    const vm::Action action = run_entry_program(targets[i], targets[i].ifindex, copy,
                                                way.environment, ignored, instructions);
    way.now += instructions * costs_.instruction;
    if (action == vm::Action::pass && copy_sent_) copy_sent_(copy, targets[i].ifindex, way.now);
  }
  to_device(way, targets.back());
}

bool Path::native(Way& way) {
  if (!xdp(way, vm::HookPoint::xdp_native)) return false;
  if (attached(vm::HookPoint::xdp_native)) way.now += costs_.xdp_pass;
  return true;
}

void Path::stack(Way& way) {
  way.now += costs_.build_skb;
  build_skb(way.packet);
  if (!xdp(way, vm::HookPoint::xdp_generic)) return;
  way.now += costs_.receive_skb;
  // A generic program may have rewritten the header or changed the length.
  build_skb(way.packet);
  way.packet.receive();
  ingress(way);
  way.packet.retag_vlan();
}

void Path::ingress(Way& way) {
  if (!attached(vm::HookPoint::tc_ingress)) return end(way, End::delivered);
  const vm::HookResult result = run(way, vm::HookPoint::tc_ingress);
  if (result.fault) return drop(way, DropReason::tc_fault);
  switch (result.action) {
    case vm::Action::pass:
      return end(way, End::delivered);
    case vm::Action::redirect:
      return redirected(way, result.redirect);
    case vm::Action::consumed:
      return drop(way, DropReason::tc_consumed);
    case vm::Action::aborted:
      return drop(way, DropReason::tc_fault);
    case vm::Action::drop:
    case vm::Action::tx:
      return drop(way, DropReason::tc_shot);
  }
}

void Path::redirected(Way& way, const vm::Redirect& redirect) {
  const vm::Network& network = *way.environment.network;
  const vm::Interface* device = network.by_index(redirect.ifindex);
  if (device == nullptr || !device->up) return drop(way, DropReason::tc_redirect);
  switch (redirect.kind) {
    case vm::Redirect::Kind::interface:
      if ((redirect.flags & BPF_F_INGRESS) != 0) return end(way, End::delivered);
      break;
    case vm::Redirect::Kind::neighbour:
      if (!address_to_neighbour(network, redirect, way.packet)) {
        return drop(way, DropReason::tc_redirect);
      }
      break;
    case vm::Redirect::Kind::peer:
      // Linux only hands on into another namespace, which is not this machine's to follow.
      return device->peer_elsewhere ? end(way, End::delivered) : drop(way, DropReason::tc_redirect);
    case vm::Redirect::Kind::none:
    case vm::Redirect::Kind::map:
      return drop(way, DropReason::tc_redirect);
  }
  way.packet.ifindex = redirect.ifindex;
  if (redirect.ifindex == kNic0) return egress(way);
  transmit(way, redirect.ifindex);
}

void Path::egress(Way& way) {
  way.packet.skb.at_ingress = false;
  if (!attached(vm::HookPoint::tc_egress)) return transmit(way, kNic0);
  const vm::HookResult result = run(way, vm::HookPoint::tc_egress);
  if (result.fault) return drop(way, DropReason::tc_fault);
  switch (result.action) {
    case vm::Action::pass:
      return transmit(way, kNic0);
    case vm::Action::redirect: {
      // Out of nic0 again would run this program again, until Linux ends the recursion. And only
      // what came in is handed to a peer.
      const bool again =
          result.redirect.ifindex == kNic0 && (result.redirect.flags & BPF_F_INGRESS) == 0;
      if (again || result.redirect.kind == vm::Redirect::Kind::peer) {
        return drop(way, DropReason::tc_redirect);
      }
      return redirected(way, result.redirect);
    }
    case vm::Action::consumed:
      return drop(way, DropReason::tc_consumed);
    case vm::Action::aborted:
      return drop(way, DropReason::tc_fault);
    case vm::Action::drop:
    case vm::Action::tx:
      return drop(way, DropReason::tc_shot);
  }
}

}  // namespace xnic::sim
