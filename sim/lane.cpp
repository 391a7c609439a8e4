// It leaves out everything that takes time or room; only what the NIC's parser decides (runts,
// oversize, RSS queue) is there, because programs see it.
// Test: tests/sim/untimed_test.cpp.
#include "sim/lane.h"

#include <algorithm>
#include <utility>

#include "nic/mac.h"

namespace xnic::sim {

Lane::Lane(InterfaceHooks hooks, const RunOptions& options, bool shares, bool wanted)
    : mtu_(options.mtu),
      network_(*options.network),
      has_timers_(!shares),
      has_engine_(
          std::ranges::any_of(hooks.all(),
                              [](const InterfaceHooks::Entry& interface) {
                                constexpr auto kOffload = vm::HookPoint::xdp_offload;
                                return (*interface.hooks)[static_cast<size_t>(kOffload)].attached();
                              })),
      environments_(options),
      path_(std::move(hooks), PathCosts()) {
  path_.set_keeps_events(wanted);
  path_.set_socket_received(options.socket_received);
  if (!wanted || !options.copy_sent) return;
  if (!shares) {
    path_.set_copy_sent(options.copy_sent);
  } else {
    path_.set_copy_sent([this](const vm::Packet& packet, uint32_t ifindex, uint64_t time_ps) {
      auto copy = std::make_unique<vm::Packet>();
      copy->copy(packet);
      running_->copies.push_back({std::move(copy), ifindex, time_ps});
    });
  }
}

void Lane::enter(const traces::Frame& frame, const nic::Rss::Steering& steering, uint32_t ifindex,
                 Journey& journey) {
  sim::enter(frame, journey.packet, journey.outcome, ifindex);
  nic::Rss::apply(steering, journey.packet);
  journey.outcome.queue = steering.queue;
}

// For the first XDP program on the way of a burst; what tc programs see is not there yet.
void Lane::prefetch(std::span<Journey* const> burst) {
  if (burst.empty()) return;
  const vm::Hook* hook = path_.first_xdp(burst.front()->packet.ifindex);
  if (hook == nullptr || !hook->prefetches()) return;
  waiting_.clear();
  for (Journey* journey : burst) {
    waiting_.push_back({&journey->packet, &environments_.of_queue(journey->outcome.queue)});
  }
  hook->prefetch(waiting_);
}

void Lane::run_one(Journey& journey, Path::Arrivals& arrivals) {
  vm::Packet& packet = journey.packet;
  Outcome& outcome = journey.outcome;
  const nic::Picoseconds now = outcome.arrival_ps;
  running_ = &journey;
  const auto check = nic::check_frame(packet.linear(), packet.length(), mtu_);
  if (check != nic::FrameCheck::good) {
    drop(outcome, check == nic::FrameCheck::runt ? DropReason::runt : DropReason::oversize, now);
  } else {
    if (has_timers_ && environments_.timers.next() != vm::Timers::kNever) {
      environments_.run_timers(now / nic::kPicosecondsPerNanosecond);
    }
    bool goes_on = true;
    if (has_engine_) {
      Way card{packet, environments_.offload_of_queue(outcome.queue), outcome, now};
      goes_on = path_.offload(card);
    }
    if (goes_on) arrivals.run(packet, environments_.of_queue(outcome.queue), outcome, now);
  }
  tally_.add(outcome);
}

}  // namespace xnic::sim
