// A packet's way after a redirect: into maps' targets, out of interfaces, and in again within the
// machine, with the copies that broadcasts and clones make. Copies go their whole way before the
// packet itself goes on.
// It leaves out: time that another CPU takes, and what netif_rx would queue: what comes in again
// does so at once.
// Test: tests/sim/redirect_test.cpp, and against the kernel tests/sim/stack_kernel_test.cpp.
#include "sim/path.h"
#include "sim/redirect.h"
#include "vm/map.h"

namespace xnic::sim {
namespace {

constexpr uint32_t kVlanHeader = 4;

// What a NIC told beside the frame does not go along where Linux hands it on as a struct xdp_frame.
void forget_reception(vm::Packet& packet) {
  packet.rx_queue_index = 0;
  packet.rx_hash = 0;
  packet.rx_hash_type = 0;
  packet.rx_vlan.reset();
  packet.rx_timestamp_ns.reset();
}

}  // namespace

Path::Next Path::xdp_redirected(Way& way, const vm::Redirect& redirect) {
  const auto to_interface = [&](const vm::RedirectEntry& entry) {
    if (takes_xdp(*way.environment.network, entry.ifindex, way.packet.length())) {
      return to_device(way, entry);
    }
    drop(way, DropReason::xdp_redirect);
    return Next::ended;
  };
  if (redirect.kind == vm::Redirect::Kind::interface) {
    return to_interface({.ifindex = redirect.ifindex});
  }
  if (redirect.kind != vm::Redirect::Kind::map) {
    drop(way, DropReason::xdp_redirect);
    return Next::ended;
  }
  switch (redirect.map->spec().type) {
    case BPF_MAP_TYPE_CPUMAP:
      return to_cpu(way, redirect);
    case BPF_MAP_TYPE_XSKMAP:
      return to_socket(way, redirect);
    default:
      if ((redirect.flags & BPF_F_BROADCAST) != 0) return to_all(way, redirect);
      return to_interface(redirect.entry);
  }
}

// The rest of the way is the other CPU's.
Path::Next Path::to_cpu(Way& way, const vm::Redirect& redirect) {
  // Copies are sk_buffs, or came in anew.
  const bool is_frame = !way.built && way.rounds == 0;
  if (is_frame && cpu_takes_ && cpu_takes_(redirect)) return Next::ended;
  if (!way.came_from_cpu) way.came_from_cpu = way.environment.cpu;
  way.environment.cpu = redirect.key;
  return at_cpu(way, redirect.entry);
}

void Path::arrive_at_cpu(Way& way, const vm::RedirectEntry& entry) {
  way.environment.now_ns = way.now / nic::kPicosecondsPerNanosecond;
  if (at_cpu(way, entry) != Next::ended) stack(way);
}

Path::Next Path::at_cpu(Way& way, const vm::RedirectEntry& entry) {
  forget_reception(way.packet);
  vm::Redirect next;
  uint64_t instructions = 0;
  const vm::Action action =
      run_entry_program(entry, 0, way.packet, way.environment, next, instructions);
  way.now += instructions * costs_.instruction;
  switch (action) {
    case vm::Action::pass:
      return Next::on;
    case vm::Action::redirect:
      // A CPU may hand on to a CPU, itself among them.
      if (++way.rounds <= kMaxRounds) return xdp_redirected(way, next);
      drop(way, DropReason::loop);
      return Next::ended;
    case vm::Action::drop:
      drop(way, DropReason::xdp_drop);
      return Next::ended;
    default:
      drop(way, DropReason::xdp_aborted);
      return Next::ended;
  }
}

Path::Next Path::to_socket(Way& way, const vm::Redirect& redirect) {
  if (socket_received_) socket_received_(way.packet, redirect.entry.socket, way.now);
  end(way, End::delivered);
  return Next::ended;
}

Path::Next Path::to_device(Way& way, const vm::RedirectEntry& entry) {
  vm::Redirect ignored;
  uint64_t instructions = 0;
  const vm::Action action =
      run_entry_program(entry, entry.ifindex, way.packet, way.environment, ignored, instructions);
  way.now += instructions * costs_.instruction;
  if (action == vm::Action::pass) return send(way, entry.ifindex);
  drop(way, action == vm::Action::drop ? DropReason::xdp_drop : DropReason::xdp_aborted);
  return Next::ended;
}

Path::Next Path::to_all(Way& way, const vm::Redirect& redirect) {
  const std::vector<vm::RedirectEntry> targets =
      broadcast_targets(*way.environment.network, redirect, way.packet);
  if (targets.empty()) {
    drop(way, DropReason::xdp_redirect);
    return Next::ended;
  }
  // The packet itself goes to the last.
  for (size_t i = 0; i + 1 < targets.size(); ++i) {
    vm::Packet packet;
    packet.copy(way.packet);
    Outcome outcome;
    Way copy{packet, way.environment, outcome, way.now};
    copy.in_card = way.in_card;
    copy.built = way.built;
    copy.rounds = way.rounds;
    finish_copy(way, copy, to_device(copy, targets[i]));
  }
  return to_device(way, targets.back());
}

Path::Next Path::tc_redirected(Way& way, const vm::Redirect& redirect) {
  const auto lost = [&] {
    drop(way, DropReason::tc_redirect);
    return Next::ended;
  };
  const vm::Network& network = *way.environment.network;
  const vm::Interface* device = network.by_index(redirect.ifindex);
  if (device == nullptr || !device->up) return lost();
  switch (redirect.kind) {
    case vm::Redirect::Kind::interface:
      if ((redirect.flags & BPF_F_INGRESS) == 0) break;
      way.packet.skb.priority = 0;
      return come_in(way, redirect.ifindex);
    case vm::Redirect::Kind::neighbour:
      if (!address_to_neighbour(network, redirect, way.packet)) return lost();
      break;
    case vm::Redirect::Kind::peer:
      // Linux hands on only what came in, and only into another namespace, which is not this
      // machine's to follow.
      if (!device->peer_elsewhere || !way.packet.skb.at_ingress) return lost();
      end(way, End::delivered);
      return Next::ended;
    case vm::Redirect::Kind::none:
    case vm::Redirect::Kind::map:
      return lost();
  }
  if (way.packet.skb.tstamp_type == 0) way.packet.skb.tstamp = 0;
  return egress(way, redirect.ifindex);
}

// The device itself sends the packet.
Path::Next Path::send(Way& way, uint32_t ifindex) {
  const vm::Network& network = *way.environment.network;
  const uint32_t end_ifindex = way.in_card ? 0 : other_end(network, ifindex);
  if (end_ifindex == 0) {
    way.outcome.out_ifindex = ifindex;
    end(way, End::transmitted);
    return Next::ended;
  }
  const vm::Interface* there = network.by_index(end_ifindex);
  const bool native = attached(vm::HookPoint::xdp_native, end_ifindex);
  // A veth takes frames of XDP only where XDP runs at its other end.
  if (there == nullptr || !there->up || (!way.built && !native)) {
    drop(way, way.built ? DropReason::tc_redirect : DropReason::xdp_redirect);
    return Next::ended;
  }
  const bool fits = way.packet.length() <= there->mtu + vm::kEthernetHeader + kVlanHeader;
  if (end_ifindex != ifindex && !fits && way.packet.skb.gso_size == 0) {
    drop(way, DropReason::mtu);
    return Next::ended;
  }
  if (copy_sent_) {
    const bool tagged = way.packet.skb.vlan_present;
    way.packet.retag_vlan();
    copy_sent_(way.packet, ifindex, way.now);
    if (tagged) way.packet.untag_vlan();
  }
  if (end_ifindex != ifindex) way.packet.skb.priority = 0;
  if (const Next next = come_in(way, end_ifindex); next == Next::ended) return next;
  if (xdp(way, vm::HookPoint::xdp_native) == Next::ended) return Next::ended;
  return Next::up;
}

// The packet comes in at an interface of the machine after it was in the machine already.
Path::Next Path::come_in(Way& way, uint32_t ifindex) {
  if (++way.rounds > kMaxRounds) {
    drop(way, DropReason::loop);
    return Next::ended;
  }
  vm::Packet& packet = way.packet;
  packet.ifindex = ifindex;
  packet.ingress_ifindex = ifindex;
  forget_reception(packet);
  way.nested_sends = 0;
  return Next::up;
}

void Path::send_clone(Way& way, vm::Packet& clone, const vm::Redirect& to) {
  Outcome outcome;
  Way copy{clone, way.environment, outcome, way.now};
  copy.built = true;
  copy.redirected = way.redirected;
  copy.nested_sends = way.nested_sends;
  copy.rounds = way.rounds;
  finish_copy(way, copy, tc_redirected(copy, to));
}

void Path::finish_copy(Way& way, Way& copy, Next next) {
  if (next == Next::ended) {
    copy.packet.retag_vlan();
  } else {
    stack(copy);
  }
  Outcome& outcome = copy.outcome;
  if (outcome.end == End::transmitted && copy_sent_) {
    copy_sent_(copy.packet, outcome.out_ifindex, outcome.end_ps);
  }
  ++way.outcome.copies[static_cast<size_t>(outcome.end)];
  for (size_t i = 0; i < kEnds; ++i) way.outcome.copies[i] += outcome.copies[i];
  for (HookEvent& event : outcome.events) {
    event.copy = true;
    way.outcome.events.push_back(event);
  }
  way.rounds = copy.rounds;
  way.now = copy.now;
}

}  // namespace xnic::sim
