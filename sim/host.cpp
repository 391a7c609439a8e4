// The host's CPUs. A poll takes up to its weight of packets, in one go unless the run is exact, on
// a clock of its own that starts at the poll and grows with each packet's costs; what others see of
// it (descriptors posted, packets to send, as drivers ring one doorbell a poll) happens when the
// clock gets there. It leaves out: the interrupt's own CPU time, softirq budgets across queues,
// ksoftirqd, caches, and other load. Programs on different CPUs interleave at the grain of polls.
// Timers of programs fire at their time by the programs' clock, but take their CPU only when its
// next packet comes. Test: tests/sim/system_test.cpp.
#include "sim/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace xnic::sim {

Host::Host(const sc_core::sc_module_name& name, const nic::NicProfile& profile,
           const InterfaceHooks& hooks, Environments& environments, nic::Wheel& wheel,
           nic::Nic& nic, nic::HostMemory& memory, const std::vector<uint32_t>& ports, bool exact,
           HostClient& client)
    : sc_module(name),
      registers("registers"),
      poll_cost_(nic::from_nanoseconds(profile.poll_ns.value)),
      packet_cost_(nic::from_nanoseconds(profile.packet_ns.value)),
      instruction_cost_(nic::from_nanoseconds(profile.instruction_ns.value)),
      weight_(profile.napi_weight_packets.whole()),
      path_(hooks, host_costs(profile)),
      environments_(environments),
      wheel_(wheel),
      nic_(nic),
      memory_(memory),
      ports_(ports),
      client_(client),
      exact_(exact),
      cpus_(environments.cores.size()),
      rx_tails_(nic.queues()),
      tx_tails_(nic.queues()) {
  for (uint32_t i = 0; i < nic.queues(); ++i) {
    cpu_of_queue_.push_back(environments.of_queue(i % nic.queues_a_port()).cpu);
  }
  access_.set_write();
  access_.set_data_length(sizeof(uint32_t));
  access_.set_streaming_width(sizeof(uint32_t));
  for (uint32_t i = 0; i < cpus_.size(); ++i) {
    cpus_[i].number = i;
    cpus_[i].go_on = wheel.add([this, i] { go_on(cpus_[i]); });
  }
}

void Host::start() {
  for (const uint32_t ifindex : ports_) {
    xdp_.emplace_back(path_, vm::HookPoint::xdp_native, ifindex);
  }
}

void Host::interrupt(uint32_t queue) {
  Cpu& cpu = cpus_[cpu_of_queue_[queue]];
  cpu.poll_list.push_back(queue);
  if (!cpu.polls) begin_poll(cpu);
}

void Host::begin_poll(Cpu& cpu) {
  cpu.polls = !cpu.poll_list.empty();
  if (!cpu.polls) return;
  cpu.queue = cpu.poll_list.front();
  cpu.poll_list.pop_front();
  cpu.over = false;
  cpu.begun = wheel_.now();
  cpu.clock = cpu.begun + poll_cost_;
  if (exact_) {
    wheel_.at(cpu.clock, cpu.go_on);
  } else {
    go_on(cpu);
  }
}

inline void Host::process(Cpu& cpu, std::unique_ptr<nic::Transit> transit) {
  auto& traveller = static_cast<Traveller&>(*transit);
  vm::Environment& environment = environments_.cores[cpu.number];
  const uint64_t now_ns = cpu.clock / nic::kPicosecondsPerNanosecond;
  if (environments_.timers.next() <= now_ns) {
    cpu.clock += environments_.timers.run_until(now_ns, environment) * instruction_cost_;
  }
  Way way{traveller.packet, environment, traveller.outcome, cpu.clock + packet_cost_};
  const nic::Picoseconds miss = way.miss = memory_.cpu_miss(transit->buffer);
  if (xdp_[traveller.in_port].run(way)) path_.stack(way);
  if (way.miss != miss) memory_.cpu_touched(way.now, transit->buffer);
  cpu.clock = way.now;
  if (traveller.outcome.end == End::transmitted) {
    // What leaves by an interface that is no port of the card is not the card's to send.
    const auto port = std::ranges::find(ports_, traveller.outcome.out_ifindex);
    if (port != ports_.end()) {
      transit->left = way.now;
      transit->port = static_cast<uint32_t>(port - ports_.begin());
      nic_.place(cpu.queue, std::move(transit));
      ++cpu.placed;
      return;
    }
  }
  client_.ended(std::move(transit));
}

void Host::go_on(Cpu& cpu) {
  if (cpu.over) return end_poll(cpu);
  while (cpu.taken < weight_) {
    auto transit = nic_.take(cpu.queue, cpu.clock);
    if (!transit) break;
    ++cpu.taken;
    process(cpu, std::move(transit));
    if (exact_) return wheel_.at(cpu.clock, cpu.go_on);
  }
  cpu.over = true;
  nic_.will_post(cpu.queue, cpu.clock);
  wheel_.at(cpu.clock, cpu.go_on);
}

// As napi_complete_done: a queue that had more than its poll's weight waits for its next turn.
void Host::end_poll(Cpu& cpu) {
  const uint32_t stride = cpu.queue * nic::kQueueStride;
  if (cpu.placed != 0) {
    write(nic::kTxTail + stride, tx_tails_[cpu.queue] += std::exchange(cpu.placed, 0));
  }
  cpu.work.add(cpu.clock - cpu.begun);
  const uint32_t taken = std::exchange(cpu.taken, 0);
  if (taken != 0) write(nic::kRxTail + stride, rx_tails_[cpu.queue] += taken);
  if (taken == weight_) {
    cpu.poll_list.push_back(cpu.queue);
  } else {
    write(nic::kInterruptArm + stride, 1);
  }
  begin_poll(cpu);
}

void Host::write(uint32_t offset, uint32_t value) {
  access_.set_address(offset);
  access_.set_data_ptr(reinterpret_cast<unsigned char*>(&value));
  sc_core::sc_time delay;
  registers->b_transport(access_, delay);
  assert(access_.is_response_ok());
}

std::vector<nic::Resource> Host::resources() const {
  std::vector<nic::Resource> all;
  for (size_t i = 0; i < cpus_.size(); ++i) {
    all.push_back({.name = fmt::format("cpu {}", i),
                   .served = cpus_[i].work.served,
                   .busy = cpus_[i].work.busy});
  }
  return all;
}

}  // namespace xnic::sim
