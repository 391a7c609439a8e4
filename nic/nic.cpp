// The card as one model: a packet's way from the port into host memory is arithmetic on busy-until
// times, taken in one go. The port runs ahead of the clock, by kAhead at most, as long as nothing
// that the host will do can change the result: descriptors only become more, so a packet that has
// one needs no event, and a packet that lacks one waits for the clock.
// Frames of all ports come in one line, by their times: where one waits, those of other ports that
// come later wait behind it.
// It leaves out: descriptors freed between a frame's end on the wire and its DMA are not seen by
// it (with lossy sources only); the transmit ring has no end; transmit requests are served in the
// order in which the model makes them; completions for transmitted packets cost nothing.
// Test: tests/nic/nic_test.cpp, tests/sim/system_test.cpp.
#include "nic/nic.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace xnic::nic {
namespace {

// How far the port runs ahead of the clock. It bounds how much too late a packet from the other
// direction finds a wire that both use.
constexpr Picoseconds kAhead = 500 * kPicosecondsPerNanosecond;

}  // namespace

Nic::Nic(const sc_core::sc_module_name& name, const NicProfile& profile, const NicOptions& options,
         Wheel& wheel, NicClient& client)
    : sc_module(name),
      options_(options),
      completion_bytes_(profile.ring_completion_bytes.whole()),
      parser_latency_(from_nanoseconds(profile.parser_latency_ns.value)),
      wheel_(wheel),
      client_(client),
      queues_a_port_(profile.queues.whole()),
      mac_rx_(options.ports, Mac(profile.link_gbps.value)),
      mac_tx_(options.ports, Mac(profile.link_gbps.value)),
      rss_(profile.queues.whole()),
      engine_(from_nanoseconds(profile.offload_fixed_ns.value),
              from_nanoseconds(profile.offload_instruction_ns.value)),
      pcie_(profile),
      pump_(wheel.add([this] { pump(); })) {
  for (uint32_t i = 0; i < options.ports * queues_a_port_; ++i) {
    queues_.push_back({RxQueue(profile.queue_packets.whole()),
                       Ring(profile.ring_descriptors.whole()),
                       Interrupt(from_nanoseconds(profile.interrupt_latency_ns.value),
                                 from_nanoseconds(profile.interrupt_moderation_ns.value)),
                       wheel.add([this, i] { client_.interrupt(i); })});
  }
}

void Nic::pump() {
  if (stalled_) return;
  while (held_ || load_frame()) {
    if (!receive()) return;
  }
}

// True if `start` is too far ahead of the clock; the port then goes on at that time.
bool Nic::wait_for(Picoseconds start) {
  if (start <= wheel_.now() + kAhead) return false;
  wheel_.at(start, pump_);
  return true;
}

bool Nic::load_frame() {
  auto next = client_.next_frame();
  if (!next) {
    error_ = next.error();
    wheel_.stop();
    return false;
  }
  held_ = std::move(*next);
  if (!held_) return false;
  rss_.steer(held_->packet);
  // What stood behind a frame of another port cannot begin before now.
  if (held_->port != last_port_) not_before_ = std::max(not_before_, wheel_.now());
  last_port_ = held_->port;
  return true;
}

// Takes the held frame from the wire. False if it has to wait; the task that continues is then
// known.
bool Nic::receive() {
  const vm::Packet& packet = held_->packet;
  const Picoseconds offered = std::max(held_->arrival, not_before_);
  Mac& mac = mac_rx_[held_->port];
  Mac::Slot slot = mac.next(offered, packet.length());
  if (wait_for(slot.start)) return false;
  const FrameCheck check = check_frame(packet.linear(), packet.length(), options_.mtu);
  Queue& queue = queue_of(*held_);
  if (check == FrameCheck::good) {
    const bool scarce = queue.ring.free() == 0;
    if (scarce && !options_.lossy) {
      stalled_ = true;
      return false;
    }
    if (scarce && wheel_.now() < slot.end) {
      wheel_.at(slot.end, pump_);
      return false;
    }
    if (!options_.lossy) {
      const Picoseconds wait = queue.memory.room_at(slot.end) - slot.end;
      slot = mac.next(slot.start + wait, packet.length());
      if (wait_for(slot.start)) return false;
    }
  }
  held_->arrival = options_.lossy ? held_->arrival : slot.start;
  mac.pass(slot.start, packet.length());
  not_before_ = 0;
  if (check != FrameCheck::good) {
    client_.lost(std::move(held_), check == FrameCheck::runt ? NicDrop::runt : NicDrop::oversize,
                 slot.end);
  } else if (queue.memory.room_at(slot.end) > slot.end) {
    client_.lost(std::move(held_), NicDrop::rx_queue_full, slot.end);
  } else {
    accept(std::move(held_), slot);
  }
  return true;
}

// The frame is in its queue: offload engine, then drop, transmission or DMA.
void Nic::accept(std::unique_ptr<Transit> transit, const Mac::Slot& slot) {
  Queue& queue = queue_of(*transit);
  transit->received = slot.end;
  transit->packet.rx_timestamp_ns = slot.end / kPicosecondsPerNanosecond;
  const Picoseconds parsed = slot.end + parser_latency_;
  const Picoseconds begun = engine_.start(parsed);
  const Offloaded run = client_.offload(*transit, begun);
  const Picoseconds now = run.ran ? engine_.charge(begun, run) : parsed;
  if (run.way == Offloaded::Way::drop) {
    hold(queue, slot.end, now);
    client_.offload_dropped(std::move(transit), now);
    return;
  }
  if (run.way == Offloaded::Way::transmit) {
    const Mac::Slot out = mac_tx_[transit->port].pass(now, transit->packet.length());
    hold(queue, slot.end, out.end);
    client_.sent(std::move(transit), out.end);
    return;
  }
  if (queue.ring.free() == 0) {
    hold(queue, slot.end, now);
    client_.lost(std::move(transit), NicDrop::no_descriptor, now);
    return;
  }
  const Pcie::Transfer data = pcie_.write(now, transit->packet.length());
  transit->ready = pcie_.write(data.left, completion_bytes_).done;
  hold(queue, slot.end, data.left);
  const Picoseconds ready = transit->ready;
  queue.ring.fill(std::move(transit));
  raise(queue, ready);
}

void Nic::hold(Queue& queue, Picoseconds from, Picoseconds until) {
  ++queue.held;
  queue.memory_ps += static_cast<double>(queue.memory.hold(until) - from);
}

void Nic::raise(Queue& queue, Picoseconds ready) {
  if (const auto handler = queue.interrupt.raise(ready)) wheel_.at(*handler, queue.fire);
}

std::unique_ptr<Transit> Nic::take(uint32_t queue, Picoseconds now) {
  Ring& ring = queues_[queue].ring;
  const Transit* oldest = ring.oldest();
  if (oldest == nullptr || oldest->ready > now) return nullptr;
  auto transit = ring.take();
  transit->taken = now;
  ++queues_[queue].taken;
  queues_[queue].ring_ps += static_cast<double>(now - transit->ready);
  return transit;
}

void Nic::post(uint32_t queue, uint64_t count) {
  queues_[queue].ring.post(count);
  if (!stalled_ || count == 0 || &queue_of(*held_) != &queues_[queue]) return;
  stalled_ = false;
  not_before_ = wheel_.now();
  wheel_.at(wheel_.now(), pump_);
}

void Nic::arm(uint32_t queue) {
  Queue& armed = queues_[queue];
  armed.interrupt.arm();
  if (const Transit* oldest = armed.ring.oldest()) {
    raise(armed, std::max(oldest->ready, wheel_.now()));
  }
}

void Nic::transmit(std::unique_ptr<Transit> transit, Picoseconds now) {
  const Picoseconds seen = pcie_.doorbell(now);
  const Picoseconds here = pcie_.read(seen, transit->packet.length()).done;
  const Mac::Slot slot = mac_tx_[transit->port].pass(here, transit->packet.length());
  client_.sent(std::move(transit), slot.end);
}

std::vector<Resource> Nic::resources() const {
  std::vector<Resource> all;
  const auto server = [&](std::string name, const Work& work,
                          Resource::Kind kind = Resource::Kind::server) {
    all.push_back(
        {.name = std::move(name), .kind = kind, .served = work.served, .busy = work.busy});
  };
  const auto store = [&](std::string name, uint64_t served, double time, size_t capacity) {
    all.push_back({.name = std::move(name),
                   .kind = Resource::Kind::store,
                   .served = served,
                   .packet_time_ps = time,
                   .capacity = capacity});
  };
  for (size_t port = 0; port < mac_rx_.size(); ++port) {
    server(fmt::format("port {} rx", port), mac_rx_[port].work(), Resource::Kind::intake);
    server(fmt::format("port {} tx", port), mac_tx_[port].work());
  }
  server("offload engine", engine_.work());
  server("PCIe to host", pcie_.to_host());
  server("PCIe to NIC", pcie_.to_nic());
  for (size_t i = 0; i < queues_.size(); ++i) {
    const Queue& queue = queues_[i];
    store(fmt::format("rx queue {}", i), queue.held, queue.memory_ps, queue.memory.capacity());
    store(fmt::format("ring {}", i), queue.taken, queue.ring_ps, queue.ring.capacity());
  }
  return all;
}

}  // namespace xnic::nic
