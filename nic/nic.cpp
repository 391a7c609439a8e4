// The card as one model: a packet's way from the port into host memory is arithmetic on busy-until
// times, taken in one go. The ports run ahead of the clock, by kAhead or to the next event, as long
// as nothing that the host will do can change the result: descriptors only become more, so a packet
// that has one needs no event, and a packet that lacks one waits for the clock.
// Frames of all ports come in one line, by their times. Where a port has to wait, its frames stand
// aside, up to kMostWaiting; then those of other ports wait behind them.
// It leaves out: descriptors freed between a frame's end on the wire and its DMA are not seen by
// it (with lossy sources only); pause frames come in time, whatever is still on the wire. The way
// out is in nic/nic_transmit.cpp.
// Test: tests/nic/nic_test.cpp, tests/sim/system_test.cpp.
#include "nic/nic.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace xnic::nic {
namespace {

// How far a port runs ahead of the clock. It bounds how much too late a packet from the other
// direction finds a wire that both use.
constexpr Picoseconds kAhead = 500 * kPicosecondsPerNanosecond;

constexpr size_t kMostWaiting = 1024;  // frames of a port
// Until when a frame has to wait: not at all, or until a descriptor is posted.
constexpr Picoseconds kReceived = 0;
constexpr Picoseconds kUntilPosted = UINT64_MAX;

constexpr uint32_t kPauseFrameBytes = 60;
constexpr double kQuantumBits = 512;  // IEEE 802.3 annex 31B

Picoseconds pause_time(const NicProfile& profile) {
  return from_nanoseconds(profile.pause_quanta.value * kQuantumBits / profile.link_gbps.value);
}

}  // namespace

Nic::Nic(const sc_core::sc_module_name& name, const NicProfile& profile, const NicOptions& options,
         Wheel& wheel, NicClient& client)
    : sc_module(name),
      dma("dma"),
      bar("bar", *this),
      options_(options),
      pauses_(profile.pause.whole() != 0),
      pause_reaction_(pause_time(profile)),
      tx_policy_(static_cast<TxPolicy>(profile.transmit_scheduler.whole())),
      completion_bytes_(profile.ring_completion_bytes.whole()),
      tx_descriptor_bytes_(profile.transmit_descriptor_bytes.whole()),
      tx_fetch_(profile.transmit_fetch_descriptors.whole()),
      tx_write_back_(profile.transmit_writeback_descriptors.whole()),
      tx_completion_bytes_(profile.transmit_completion_bytes.whole()),
      parser_latency_(from_nanoseconds(profile.parser_latency_ns.value)),
      wheel_(wheel),
      client_(client),
      queues_a_port_(profile.queues.whole()),
      intakes_(options.ports, Intake(profile.link_gbps.value)),
      mac_tx_(options.ports, Mac(profile.link_gbps.value)),
      rss_(profile.queues.whole()),
      steers_(options.hashes || queues_a_port_ > 1),
      engine_(profile, make_core_model(profile)),
      pcie_(profile),
      pump_(wheel.add([this] { pump(); })),
      take_step_(wheel.add([this] { take_step(); })) {
  queues_.reserve(size_t{options.ports} * queues_a_port_);
  for (uint32_t i = 0; i < options.ports * queues_a_port_; ++i) {
    queues_.push_back(
        {i * profile.ring_descriptors.whole(), RxQueue(profile.queue_packets.whole()),
         Ring(profile.ring_descriptors.whole()),
         DescriptorCache(profile.ring_prefetch_descriptors.whole(),
                         profile.ring_fetch_descriptors.whole(),
                         profile.ring_descriptor_bytes.whole(), profile.ring_descriptors.whole()),
         Interrupt(from_nanoseconds(profile.interrupt_latency_ns.value),
                   from_nanoseconds(profile.interrupt_moderation_ns.value),
                   profile.interrupt_moderation_packets.whole()),
         wheel.add([this, i] {
           if (!queues_[i].interrupt.handle(wheel_.now())) return;
           pcie_.message();
           client_.interrupt(i);
         })});
  }
  write_.set_write();
  read_.set_read();
  for (uint32_t port = 0; port < options.ports; ++port) {
    departures_.push_back({TxScheduler(tx_policy_, queues(), profile.transmit_weights.list()),
                           wheel.add([this, port] { serve(port); })});
  }
}

// Between the pause frame's end and the last bit that comes in spite of it, or the reverse.
void Nic::pause(uint32_t port, Picoseconds from) {
  Pause& pause = intakes_[port].pause;
  pause.since = from;
  ++pause.frames;
  mac_tx_[port].pass(from, kPauseFrameBytes);
}

// The card has room again. Gives when the next frame comes.
Picoseconds Nic::resume(uint32_t port, Picoseconds now) {
  if (!pauses_) return now;
  Pause& pause = intakes_[port].pause;
  ++pause.frames;
  const Picoseconds goes_on = mac_tx_[port].pass(now, kPauseFrameBytes).end + pause_reaction_;
  pause.paused += goes_on - std::min(goes_on, pause.since);
  return goes_on;
}

// Deadlines before the last one asked for are out of date.
void Nic::pump() {
  if (wheel_.now() < pump_at_) return;
  pump_at_ = 0;
  advance();
}

void Nic::wait_until(Picoseconds time) {
  if (time == pump_at_) return;
  pump_at_ = time;
  wheel_.at(time, pump_);
}

Picoseconds Nic::horizon() const {
  if (options_.exact) return wheel_.now();
  return std::max({wheel_.now() + kAhead, ahead_until_, wheel_.next()});
}

// Takes in what can be, and has the clock wake it for what can't.
void Nic::advance() {
  Picoseconds wake = waiting_ == 0 ? kUntilPosted : take_in_waiting();
  while (load_frames()) {
    const traces::Frame& frame = frames_.front();
    const uint32_t port = options_.port_of_source[frame.source];
    Intake& intake = intakes_[port];
    if (intake.waiting.empty()) {
      const Picoseconds until = receive(frame, port);
      if (until == kReceived) {
        frames_ = frames_.subspan(1);
        continue;
      }
      wake = std::min(wake, until);
      if (ports() == 1) break;
    }
    if (frame.time_ps > horizon()) {
      wake = std::min(wake, frame.time_ps);
      break;
    }
    if (intake.waiting.size() == kMostWaiting) break;
    intake.waiting.emplace_back(frame);
    ++waiting_;
    frames_ = frames_.subspan(1);
  }
  write_memory();
  if (wake != kUntilPosted) wait_until(wake);
}

// Gives when the first of those that still wait is to be looked at.
Picoseconds Nic::take_in_waiting() {
  Picoseconds wake = kUntilPosted;
  for (uint32_t port = 0; port < ports(); ++port) {
    auto& waiting = intakes_[port].waiting;
    while (!waiting.empty()) {
      const Picoseconds until = receive(waiting.front().frame, port);
      if (until != kReceived) {
        wake = std::min(wake, until);
        break;
      }
      waiting.pop_front();
      --waiting_;
    }
  }
  return wake;
}

bool Nic::load_frames() {
  if (!frames_.empty()) return true;
  if (exhausted_) return false;
  auto next = client_.next_frames();
  if (!next) {
    error_ = next.error();
    wheel_.stop();
  } else {
    frames_ = *next;
  }
  exhausted_ = frames_.empty();
  return !exhausted_;
}

// The frame is in its queue: offload engine, then drop, transmission or DMA.
inline void Nic::accept(const Arrival& arrival, Queue& queue) {
  const Picoseconds received = arrival.received;
  const Picoseconds parsed = received + parser_latency_;
  if (!options_.offloads && queue.ring.free() == 0) {
    hold(queue, received, parsed);
    return client_.refused(arrival, NicDrop::no_descriptor, parsed);
  }
  auto transit = client_.taken_in(arrival);
  vm::Packet& packet = transit->packet;
  Picoseconds now = parsed;
  if (options_.offloads) {
    const Picoseconds begun = engine_.start(parsed);
    const Offloaded run = client_.offload(*transit, begun);
    if (run.ran) {
      now = engine_.charge(begun, run);
      transit->engine = {begun, now};
    }
    if (run.way == Offloaded::Way::drop) {
      hold(queue, received, now);
      return client_.offload_dropped(std::move(transit), now);
    }
    if (run.way == Offloaded::Way::transmit) {
      const Mac::Slot out = mac_tx_[transit->port].pass(now, packet.length());
      transit->wire_out = {out.start, out.end};
      hold(queue, received, out.end);
      return client_.sent(std::move(transit), out.end);
    }
    if (queue.ring.free() == 0) {
      hold(queue, received, now);
      return client_.lost(std::move(transit), NicDrop::no_descriptor, now);
    }
  }
  const Picoseconds described = queue.descriptors.take();
  const auto buffer = queue.first_buffer + static_cast<uint32_t>(queue.ring.next_place());
  const Pcie::Transfer data = pcie_.write(now, packet.length(), address_of(buffer));
  const Picoseconds ready = std::max(
      data.done, pcie_.write(data.left, completion_bytes_, address_of_completion(buffer)).done);
  written_.pieces.push_back({data.done, buffer, packet.length()});
  transit->buffer = buffer;
  // Without a descriptor the DMA waits; others go before it.
  const Picoseconds late = described - std::min(described, now);
  transit->to_host = {data.begun + late, data.left + late};
  transit->ready = ready + late;
  hold(queue, received, data.left + late);
  queue.ring.fill(std::move(transit));
  queue.descriptors.fetch(now, queue.ring.free(), pcie_);
  raise(queue, ready + late);
}

// Takes a frame from the wire, unless it has to wait; gives until when.
Picoseconds Nic::receive(const traces::Frame& frame, uint32_t port) {
  Intake& intake = intakes_[port];
  if (intake.stalled_on != kNone) return kUntilPosted;
  const auto length = static_cast<uint32_t>(frame.bytes.size());
  const Picoseconds limit = horizon();
  const auto turn = [this](const Mac::Slot& slot) {
    return options_.exact ? slot.end : slot.start;
  };
  Mac::Slot slot = intake.mac.next(std::max(frame.time_ps, intake.not_before), length);
  if (turn(slot) > limit) return turn(slot);
  const auto steering = steers_ ? rss_.steer(frame.bytes) : Rss::Steering();
  const uint32_t number = port * queues_a_port_ + steering.queue;
  Queue& queue = queues_[number];
  const FrameCheck check = check_frame(frame.bytes, length, options_.mtu);
  const bool scarce = check == FrameCheck::good && queue.ring.free() == 0;
  if (scarce && may_wait()) {
    intake.stalled_on = number;
    if (pauses_) pause(port, slot.end);
    return kUntilPosted;
  }
  if (scarce && slot.end > std::max(wheel_.now(), queue.next_post)) return slot.end;
  Picoseconds room = queue.memory.room_at(slot.end);
  if (check == FrameCheck::good && may_wait() && room > slot.end) {
    if (pauses_) {
      pause(port, slot.end);
      intake.not_before = resume(port, queue.memory.half_empty_at());
    } else {
      intake.not_before = slot.start + (room - slot.end);
    }
    slot = intake.mac.next(intake.not_before, length);
    if (turn(slot) > limit) return turn(slot);
    room = queue.memory.room_at(slot.end);
  }
  intake.mac.occupy(slot.start, length);
  Arrival arrival{.frame = frame,
                  .port = port,
                  .time = may_wait() ? slot.start : frame.time_ps,
                  .wire = {slot.start, slot.end},
                  .received = 0,
                  .steering = steering};
  if (check == FrameCheck::runt) {
    client_.refused(arrival, NicDrop::runt, slot.end);
  } else if (check == FrameCheck::oversize) {
    client_.refused(arrival, NicDrop::oversize, slot.end);
  } else if (room > slot.end) {
    client_.refused(arrival, NicDrop::rx_queue_full, slot.end);
  } else {
    arrival.received = slot.end;
    accept(arrival, queue);
  }
  return kReceived;
}

// Loosely timed: the pieces say how far ahead of SystemC's clock they are.
void Nic::write_memory() {
  if (written_.pieces.empty()) return;
  write_.set_address(address_of(written_.pieces.front().buffer));
  write_.set_extension(&written_);
  sc_core::sc_time delay;
  dma->b_transport(write_, delay);
  write_.clear_extension(&written_);
  written_.pieces.clear();
}

std::unique_ptr<Transit> Nic::take(uint32_t index, Picoseconds now) {
  Queue& queue = queues_[index];
  const auto there = [&] {
    const Transit* oldest = queue.ring.oldest();
    return oldest != nullptr && oldest->ready <= now;
  };
  if (!there()) {
    // Frames that came in meanwhile may not have had their turn.
    if (options_.exact || now <= ahead_until_) return nullptr;
    ahead_until_ = now;
    queue.next_post = std::max(queue.next_post, now);
    advance();
    if (!there()) return nullptr;
  }
  auto transit = queue.ring.take();
  transit->taken = now;
  ++queue.taken;
  queue.ring_ps += to_double(now - transit->ready);
  return transit;
}

void Nic::post(uint32_t queue, uint64_t count) {
  if (count == 0) return;
  Queue& posted = queues_[queue];
  posted.ring.post(count);
  posted.rx_tail += static_cast<uint32_t>(count);
  posted.descriptors.fetch(pcie_.doorbell(wheel_.now()), posted.ring.free(), pcie_);
  const uint32_t port = queue / queues_a_port_;
  Intake& intake = intakes_[port];
  if (intake.stalled_on != queue) return;
  intake.stalled_on = kNone;
  intake.not_before = resume(port, wheel_.now());
  wait_until(wheel_.now());
}

void Nic::arm(uint32_t queue) {
  Queue& armed = queues_[queue];
  armed.interrupt.arm();
  armed.ring.for_each(
      [&](const Transit& waiting) { raise(armed, std::max(waiting.ready, wheel_.now())); });
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
  for (size_t port = 0; port < intakes_.size(); ++port) {
    server(fmt::format("port {} rx", port), intakes_[port].mac.work(), Resource::Kind::intake);
    server(fmt::format("port {} tx", port), mac_tx_[port].work());
    const Pause& pause = intakes_[port].pause;
    if (pauses_) {
      server(fmt::format("port {} paused", port), {pause.frames, pause.paused},
             Resource::Kind::pause);
    }
  }
  server("offload engine", engine_.work());
  all.back().servers = engine_.cores();
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
