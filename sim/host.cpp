// The host's CPUs. A poll takes up to its weight of packets in one go, on a clock of its own that
// starts at the poll and grows with each packet's costs; what others see of it (descriptors posted,
// packets to send, as drivers ring one doorbell a poll) happens when the clock gets there.
// It leaves out: the interrupt's own CPU time, softirq budgets across queues, ksoftirqd, caches,
// and other load. Programs on different CPUs interleave at the grain of polls. Timers of programs
// fire at their time by the programs' clock, but take their CPU only when its next packet comes.
// Test: tests/sim/system_test.cpp.
#include "sim/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace xnic::sim {

Host::Host(const sc_core::sc_module_name& name, const nic::NicProfile& profile,
           const InterfaceHooks& hooks, Environments& environments, nic::Wheel& wheel,
           nic::Nic& nic, const std::vector<uint32_t>& ports, Ended ended)
    : sc_module(name),
      poll_cost_(nic::from_nanoseconds(profile.poll_ns.value)),
      packet_cost_(nic::from_nanoseconds(profile.packet_ns.value)),
      instruction_cost_(nic::from_nanoseconds(profile.instruction_ns.value)),
      weight_(profile.napi_weight_packets.whole()),
      path_(hooks, host_costs(profile)),
      environments_(environments),
      wheel_(wheel),
      nic_(nic),
      ports_(ports),
      ended_(std::move(ended)),
      queues_(nic.queues()),
      cpus_(environments.cores.size()) {
  for (uint32_t i = 0; i < queues_.size(); ++i) {
    queues_[i].cpu = environments.of_queue(i % nic.queues_a_port()).cpu;
    queues_[i].poll = wheel.add([this, i] { poll(i); });
  }
}

void Host::interrupt(uint32_t queue) { poll(queue); }

// A poll begins, and the one before it on this queue has ended.
void Host::poll(uint32_t index) {
  Queue& queue = queues_[index];
  finish_poll(index);
  Cpu& cpu = cpus_[queue.cpu];
  if (cpu.busy_until > wheel_.now()) {
    wheel_.at(cpu.busy_until, queue.poll);
    return;
  }
  nic::Picoseconds now = wheel_.now() + poll_cost_;
  while (queue.taken < weight_) {
    auto transit = nic_.take(index, now);
    if (!transit) break;
    ++queue.taken;
    now = process(queue, std::move(transit), now);
  }
  cpu.busy_until = now;
  cpu.polls.add(now - wheel_.now());
  if (queue.taken == 0) {
    nic_.arm(index);
  } else {
    wheel_.at(now, queue.poll);
  }
}

void Host::finish_poll(uint32_t index) {
  Queue& queue = queues_[index];
  for (auto& transit : queue.to_send) nic_.transmit(std::move(transit), wheel_.now());
  queue.to_send.clear();
  nic_.post(index, std::exchange(queue.taken, 0));
}

nic::Picoseconds Host::process(Queue& queue, std::unique_ptr<nic::Transit> transit,
                               nic::Picoseconds now) {
  auto& traveller = static_cast<Traveller&>(*transit);
  vm::Environment& environment = environments_.cores[queue.cpu];
  const uint64_t timers =
      environments_.timers.run_until(now / nic::kPicosecondsPerNanosecond, environment);
  now += timers * instruction_cost_;
  Way way{traveller.packet, environment, traveller.outcome, now + packet_cost_};
  if (path_.native(way)) path_.stack(way);
  // What leaves by an interface that is no port of the card is not the card's to send.
  const auto port = std::ranges::find(ports_, traveller.outcome.out_ifindex);
  if (traveller.outcome.end == End::transmitted && port != ports_.end()) {
    transit->left = way.now;
    transit->port = static_cast<uint32_t>(port - ports_.begin());
    queue.to_send.push_back(std::move(transit));
  } else {
    ended_(std::move(transit));
  }
  return way.now;
}

std::vector<nic::Resource> Host::resources() const {
  std::vector<nic::Resource> all;
  for (size_t i = 0; i < cpus_.size(); ++i) {
    all.push_back({.name = fmt::format("cpu {}", i),
                   .served = cpus_[i].polls.served,
                   .busy = cpus_[i].polls.busy});
  }
  return all;
}

}  // namespace xnic::sim
