// The card's way out: transmit rings, descriptors, DMA from host memory, the scheduler, the wire.
// It leaves out: the transmit ring has no end; transmit requests are served in the order in which
// the model makes them.
// Test: tests/nic/nic_test.cpp.
#include <algorithm>
#include <functional>
#include <utility>

#include "nic/nic.h"

namespace xnic::nic {

// Loosely timed: the delay says how far ahead of SystemC's clock the access is.
Picoseconds Nic::read_memory(Picoseconds now, uint32_t buffer, const vm::Packet& packet) {
  read_.set_address(address_of(buffer));
  read_.set_data_ptr(const_cast<unsigned char*>(packet.data()));
  read_.set_data_length(packet.length());
  read_.set_streaming_width(packet.length());
  const auto ahead = sc_core::sc_time::from_value(now - sc_core::sc_time_stamp().value());
  sc_core::sc_time delay = ahead;
  dma->b_transport(read_, delay);
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
  const Picoseconds longer = read_memory(now, transit->buffer, transit->packet);
  const Pcie::Transfer data =
      pcie_.read(now, transit->packet.length(), address_of(transit->buffer), longer);
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

}  // namespace xnic::nic
