// The card as one model: a packet's way from the port into host memory is arithmetic on busy-until
// times, taken in one go. The port runs ahead of the clock, by kAhead or to the next event, as long
// as nothing that the host will do can change the result: descriptors only become more, so a packet
// that has one needs no event, and a packet that lacks one waits for the clock.
// Frames of all ports come in one line, by their times: where one waits, those of other ports that
// come later wait behind it.
// It leaves out: descriptors freed between a frame's end on the wire and its DMA are not seen by
// it (with lossy sources only); the transmit ring has no end; transmit requests are served in the
// order in which the model makes them; pause frames come in time, whatever is still on the wire.
// Test: tests/nic/nic_test.cpp, tests/sim/system_test.cpp.
#include "nic/nic.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace xnic::nic {
namespace {

// How far the port runs ahead of the clock. It bounds how much too late a packet from the other
// direction finds a wire that both use.
constexpr Picoseconds kAhead = 500 * kPicosecondsPerNanosecond;

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
      mac_rx_(options.ports, Mac(profile.link_gbps.value)),
      mac_tx_(options.ports, Mac(profile.link_gbps.value)),
      rss_(profile.queues.whole()),
      engine_(profile, make_core_model(profile)),
      pcie_(profile),
      page_bytes_(profile.iommu_page_kib.whole() * uint64_t{1024}),
      pause_(options.ports),
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
  for (uint32_t port = 0; port < options.ports; ++port) {
    departures_.push_back(
        {TxScheduler(tx_policy_, queues()), wheel.add([this, port] { serve(port); })});
  }
}

// Between the pause frame's end and the last bit that comes in spite of it, or the reverse.
void Nic::pause(Picoseconds from) {
  Pause& pause = pause_[held_->port];
  pause.since = from;
  ++pause.frames;
  mac_tx_[held_->port].pass(from, kPauseFrameBytes);
}

// The card has room again. Gives when the next frame comes.
Picoseconds Nic::resume(Picoseconds now) {
  if (!pauses_) return now;
  Pause& pause = pause_[held_->port];
  ++pause.frames;
  const Picoseconds goes_on =
      mac_tx_[held_->port].pass(now, kPauseFrameBytes).end + pause_reaction_;
  pause.paused += goes_on - std::min(goes_on, pause.since);
  return goes_on;
}

// Deadlines before the last one asked for are out of date.
void Nic::pump() {
  if (wheel_.now() < pump_at_) return;
  pump_at_ = 0;
  advance();
}

void Nic::advance() {
  if (stalled_) return;
  while (held_ || load_frame()) {
    if (!receive()) return;
  }
}

void Nic::wait_until(Picoseconds time) {
  if (time == pump_at_) return;
  pump_at_ = time;
  wheel_.at(time, pump_);
}

// True if the frame is too far ahead of the clock; the port then goes on at its time.
bool Nic::ahead_of_clock(const Mac::Slot& slot) {
  const Picoseconds time = options_.exact ? slot.end : slot.start;
  const Picoseconds limit = options_.exact
                                ? wheel_.now()
                                : std::max({wheel_.now() + kAhead, ahead_until_, wheel_.next()});
  if (time <= limit) return false;
  wait_until(time);
  return true;
}

bool Nic::load_frame() {
  if (exhausted_) return false;
  auto next = client_.next_frame();
  if (!next) {
    error_ = next.error();
    wheel_.stop();
    exhausted_ = true;
    return false;
  }
  held_ = std::move(*next);
  exhausted_ = held_ == nullptr;
  if (exhausted_) return false;
  held_->steering = rss_.steer(held_->frame.bytes);
  return true;
}

bool Nic::lose(NicDrop reason, Picoseconds now) {
  client_.lost(std::move(held_), reason, now);
  return true;
}

// Takes the held frame from the wire. False if it has to wait; the task that continues is then
// known.
bool Nic::receive() {
  const std::span<const uint8_t> frame = held_->frame.bytes;
  const auto length = static_cast<uint32_t>(frame.size());
  Mac& mac = mac_rx_[held_->port];
  Mac::Slot slot = mac.next(std::max(held_->arrival, not_before_), length);
  if (ahead_of_clock(slot)) return false;
  Queue& queue = queue_of(*held_);
  const FrameCheck check = check_frame(frame, length, options_.mtu);
  const bool scarce = check == FrameCheck::good && queue.ring.free() == 0;
  if (scarce && may_wait()) {
    stalled_ = true;
    if (pauses_) pause(slot.end);
    return false;
  }
  if (scarce && slot.end > std::max(wheel_.now(), queue.next_post)) {
    wait_until(slot.end);
    return false;
  }
  Picoseconds room = queue.memory.room_at(slot.end);
  if (check == FrameCheck::good && may_wait() && room > slot.end) {
    if (pauses_) {
      pause(slot.end);
      not_before_ = resume(queue.memory.half_empty_at());
    } else {
      not_before_ = slot.start + (room - slot.end);
    }
    slot = mac.next(not_before_, length);
    if (ahead_of_clock(slot)) return false;
    room = queue.memory.room_at(slot.end);
  }
  if (may_wait()) held_->arrival = slot.start;
  held_->wire = {slot.start, slot.end};
  mac.pass(slot.start, length);
  if (check == FrameCheck::runt) return lose(NicDrop::runt, slot.end);
  if (check == FrameCheck::oversize) return lose(NicDrop::oversize, slot.end);
  if (room > slot.end) return lose(NicDrop::rx_queue_full, slot.end);
  accept(std::move(held_), slot);
  return true;
}

// The frame is in its queue: offload engine, then drop, transmission or DMA.
void Nic::accept(std::unique_ptr<Transit> transit, const Mac::Slot& slot) {
  Queue& queue = queue_of(*transit);
  transit->received = slot.end;
  const Picoseconds parsed = slot.end + parser_latency_;
  const auto lose = [&](Picoseconds now) {
    hold(queue, slot.end, now);
    client_.lost(std::move(transit), NicDrop::no_descriptor, now);
  };
  if (!options_.offloads && queue.ring.free() == 0) return lose(parsed);
  client_.taken_in(*transit);
  vm::Packet& packet = transit->packet;
  Rss::apply(transit->steering, packet);
  packet.rx_timestamp_ns = slot.end / kPicosecondsPerNanosecond;
  const Picoseconds begun = engine_.start(parsed);
  const Offloaded run = client_.offload(*transit, begun);
  const Picoseconds now = run.ran ? engine_.charge(begun, run) : parsed;
  if (run.ran) transit->engine = {begun, now};
  if (run.way == Offloaded::Way::drop) {
    hold(queue, slot.end, now);
    client_.offload_dropped(std::move(transit), now);
    return;
  }
  if (run.way == Offloaded::Way::transmit) {
    const Mac::Slot out = mac_tx_[transit->port].pass(now, packet.length());
    transit->wire_out = {out.start, out.end};
    hold(queue, slot.end, out.end);
    client_.sent(std::move(transit), out.end);
    return;
  }
  if (queue.ring.free() == 0) return lose(now);
  const Picoseconds described = queue.descriptors.take();
  const auto buffer = queue.first_buffer + static_cast<uint32_t>(queue.ring.next_place());
  const Pcie::Transfer data = pcie_.write(now, packet.length(), page_of(buffer));
  transit->buffer = buffer;
  access(tlm::TLM_WRITE_COMMAND, data.done, buffer, packet);
  const Picoseconds ready = std::max(
      data.done, pcie_.write(data.left, completion_bytes_, page_of_completion(buffer)).done);
  // Without a descriptor the DMA waits; others go before it.
  const Picoseconds late = described - std::min(described, now);
  transit->to_host = {data.begun + late, data.left + late};
  transit->ready = ready + late;
  hold(queue, slot.end, data.left + late);
  queue.ring.fill(std::move(transit));
  queue.descriptors.fetch(now, queue.ring.free(), pcie_);
  raise(queue, ready + late);
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
  queue.ring_ps += static_cast<double>(now - transit->ready);
  return transit;
}

void Nic::post(uint32_t queue, uint64_t count) {
  if (count == 0) return;
  Queue& posted = queues_[queue];
  posted.ring.post(count);
  posted.rx_tail += static_cast<uint32_t>(count);
  posted.descriptors.fetch(pcie_.doorbell(wheel_.now()), posted.ring.free(), pcie_);
  if (!stalled_ || &queue_of(*held_) != &posted) return;
  stalled_ = false;
  not_before_ = resume(wheel_.now());
  wait_until(wheel_.now());
}

void Nic::arm(uint32_t queue) {
  Queue& armed = queues_[queue];
  armed.interrupt.arm();
  armed.ring.for_each(
      [&](const Transit& waiting) { raise(armed, std::max(waiting.ready, wheel_.now())); });
}

// Loosely timed: the delay says how far ahead of SystemC's clock the access is.
Picoseconds Nic::access(tlm::tlm_command command, Picoseconds now, uint32_t buffer,
                        const vm::Packet& packet) {
  access_.set_command(command);
  access_.set_address(buffer * HostMemory::kBufferBytes);
  access_.set_data_ptr(const_cast<unsigned char*>(packet.data()));
  access_.set_data_length(packet.length());
  access_.set_streaming_width(packet.length());
  const auto ahead = sc_core::sc_time::from_value(now - sc_core::sc_time_stamp().value());
  sc_core::sc_time delay = ahead;
  dma->b_transport(access_, delay);
  return (delay - ahead).value();
}

void Nic::go_on(std::unique_ptr<Transit> transit, Picoseconds time, Step step) {
  if (!options_.exact) return (this->*step)(std::move(transit), time);
  later(std::move(transit), time, step);
}

void Nic::later(std::unique_ptr<Transit> transit, Picoseconds time, Step step) {
  steps_.push_back({time, step_order_++, std::move(transit), step});
  std::push_heap(steps_.begin(), steps_.end(), std::greater<>());
  wheel_.at(time, take_step_);
}

// Steps and deadlines have the same order.
void Nic::take_step() {
  std::pop_heap(steps_.begin(), steps_.end(), std::greater<>());
  Waiting waiting = std::move(steps_.back());
  steps_.pop_back();
  (this->*waiting.step)(std::move(waiting.transit), wheel_.now());
}

void Nic::place(uint32_t queue, std::unique_ptr<Transit> transit) {
  transit->tx_queue = queue;
  queues_[queue].to_send.push_back(std::move(transit));
}

void Nic::set_tx_tail(uint32_t index, uint32_t tail) {
  Queue& queue = queues_[index];
  const size_t count = std::min<size_t>(tail - queue.tx_tail, queue.to_send.size());
  queue.tx_tail += static_cast<uint32_t>(count);
  const Picoseconds seen = pcie_.doorbell(wheel_.now());
  Picoseconds described = seen;
  for (size_t i = 0; i < count; ++i) {
    if (tx_fetch_ == 0) {
      if (i != 0) described = pcie_.doorbell(wheel_.now());
    } else if (i % tx_fetch_ == 0) {
      const uint64_t together = std::min<uint64_t>(tx_fetch_, count - i);
      described = std::max(described, pcie_.fetch(seen, together * tx_descriptor_bytes_));
    }
    go_on(std::move(queue.to_send[i]), described, &Nic::read_from_host);
  }
  queue.to_send.erase(queue.to_send.begin(), queue.to_send.begin() + static_cast<ptrdiff_t>(count));
}

void Nic::read_from_host(std::unique_ptr<Transit> transit, Picoseconds now) {
  const Picoseconds longer = access(tlm::TLM_READ_COMMAND, now, transit->buffer, transit->packet);
  const Pcie::Transfer data =
      pcie_.read(now, transit->packet.length(), page_of(transit->buffer), longer);
  transit->from_host = {data.begun, data.done};
  if (tx_policy_ != TxPolicy::fifo) return later(std::move(transit), data.done, &Nic::line_up);
  go_on(std::move(transit), data.done, &Nic::send);
}

void Nic::line_up(std::unique_ptr<Transit> transit, Picoseconds now) {
  const uint32_t port = transit->port;
  Departure& departure = departures_[port];
  const uint32_t queue = transit->tx_queue;
  departure.scheduler.add(queue, std::move(transit));
  wheel_.at(std::max(now, departure.free_at), departure.serve);
}

// The wire is free, or a packet came while it was.
void Nic::serve(uint32_t port) {
  Departure& departure = departures_[port];
  if (wheel_.now() < departure.free_at) return;
  auto transit = departure.scheduler.next();
  if (!transit) return;
  send(std::move(transit), wheel_.now());
  departure.free_at = mac_tx_[port].free_at();
  wheel_.at(departure.free_at, departure.serve);
}

void Nic::send(std::unique_ptr<Transit> transit, Picoseconds now) {
  const Mac::Slot slot = mac_tx_[transit->port].pass(now, transit->packet.length());
  transit->wire_out = {slot.start, slot.end};
  if (++unreported_ == tx_write_back_) {
    pcie_.write_back(tx_write_back_ * tx_completion_bytes_);
    unreported_ = 0;
  }
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
    if (pauses_) {
      store(fmt::format("port {} paused", port), pause_[port].frames,
            static_cast<double>(pause_[port].paused), 1);
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
