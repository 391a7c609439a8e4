// The meaning of a packet's way through the hooks, written once for every clock.
// It leaves out: GRO, sockets, forwarding by routes, interfaces other than nic0 (a redirect
// elsewhere loses the packet), a second pass over tc ingress after BPF_F_INGRESS (the packet is
// delivered), and PACKET_OTHERHOST, since nic0 has no address of its own.
// Test: tests/sim/path_test.cpp.
#include "sim/path.h"

namespace xnic::sim {
namespace {

void end(Way& way, End how) {
  way.outcome.end = how;
  way.outcome.reason = DropReason::none;
  way.outcome.end_ps = way.now;
}

void drop(Way& way, DropReason reason) { drop(way.outcome, reason, way.now); }

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
  outcome.packet_id = frame.id;
  outcome.arrival_ps = frame.time_ps;
  outcome.end_ps = frame.time_ps;
  outcome.queue = 0;
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
      end(way, End::transmitted);
      return false;
    case vm::Action::redirect:
      way.now += costs_.xdp_redirect;
      if (result.redirect.set && result.redirect.ifindex == kNic0) {
        end(way, End::transmitted);
      } else {
        drop(way, DropReason::xdp_redirect);
      }
      return false;
  }
  return true;
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
  if (!redirect.set || redirect.ifindex != kNic0) return drop(way, DropReason::tc_redirect);
  if ((redirect.flags & BPF_F_INGRESS) != 0) return end(way, End::delivered);
  egress(way);
}

void Path::egress(Way& way) {
  way.packet.skb.at_ingress = false;
  if (!attached(vm::HookPoint::tc_egress)) return end(way, End::transmitted);
  const vm::HookResult result = run(way, vm::HookPoint::tc_egress);
  if (result.fault) return drop(way, DropReason::tc_fault);
  switch (result.action) {
    case vm::Action::pass:
      return end(way, End::transmitted);
    case vm::Action::redirect: {
      // Out of nic0 again would run this program again, until Linux ends the recursion.
      const bool inwards = result.redirect.set && result.redirect.ifindex == kNic0 &&
                           (result.redirect.flags & BPF_F_INGRESS) != 0;
      return inwards ? end(way, End::delivered) : drop(way, DropReason::tc_redirect);
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
