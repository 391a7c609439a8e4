// The timed system: wires source, NIC and host around one event wheel and collects outcomes.
// It leaves out more than one NIC. What NIC and host leave out is said in nic/nic.cpp and
// sim/host.cpp. Test: tests/sim/system_test.cpp.
#include "sim/system.h"

#include <array>
#include <exception>
#include <optional>
#include <utility>

#include "nic/nic.h"
#include "nic/wheel.h"
#include "sim/host.h"
#include "sim/path.h"

namespace xnic::sim {
namespace {

DropReason reason_of(nic::NicDrop drop) {
  constexpr std::array kReasons = {DropReason::runt, DropReason::oversize,
                                   DropReason::rx_queue_full, DropReason::no_descriptor};
  return kReasons[static_cast<size_t>(drop)];
}

class System : public nic::NicClient {
 public:
  System(const FrameSource& source, Hooks& hooks, const RunOptions& options, OutcomeSink& sink)
      : source_(source),
        sink_(sink),
        environments_(options),
        offload_path_(hooks, offload_costs(options.profile)),
        wheel_("wheel"),
        nic_("nic0", options.profile, {.lossy = options.lossy, .mtu = options.mtu}, wheel_, *this),
        host_("host", options.profile, hooks, environments_, wheel_, nic_,
              [this](std::unique_ptr<nic::Transit> transit) { ended(std::move(transit)); }) {
    host_.set_copy_sent(options.copy_sent);
  }

  Result<RunSummary> run() {
    nic_.start();
    sc_core::sc_start();
    if (nic_.error()) return tl::unexpected(*nic_.error());
    if (wheel_.out_of_time()) {
      return fail(ExitCode::bad_input,
                  "The run is too long for the simulated clock, which ends after {} days; shorten "
                  "the capture, its gaps (--max-gap) or the number of loops.",
                  nic::kEndOfTime / (86'400ull * 1'000'000'000'000ull));
    }
    return tally_.summary();
  }

  Result<std::unique_ptr<nic::Transit>> next_frame() override {
    traces::Frame frame;
    const auto more = source_(frame);
    if (!more) return tl::unexpected(more.error());
    if (!*more) return nullptr;
    auto traveller = fresh();
    enter(frame, traveller->packet, traveller->outcome);
    traveller->arrival = frame.time_ps;
    return traveller;
  }

  nic::Offloaded offload(nic::Transit& transit, nic::Picoseconds now) override {
    if (!offload_path_.attached(vm::HookPoint::xdp_offload)) return {};
    auto& traveller = static_cast<Traveller&>(transit);
    Way way{traveller.packet, environments_.offload_of_queue(traveller.packet.rx_queue_index),
            traveller.outcome, now};
    nic::Offloaded result;
    result.ran = true;
    if (!offload_path_.offload(way)) {
      const bool sends =
          traveller.outcome.end == End::transmitted && traveller.outcome.out_ifindex == kNic0;
      result.way = sends ? nic::Offloaded::Way::transmit : nic::Offloaded::Way::drop;
    }
    result.instructions = traveller.outcome.events.back().result.instructions;
    return result;
  }

  void offload_dropped(std::unique_ptr<nic::Transit> transit, nic::Picoseconds now) override {
    static_cast<Traveller&>(*transit).outcome.end_ps = now;
    ended(std::move(transit));
  }

  void lost(std::unique_ptr<nic::Transit> transit, nic::NicDrop reason,
            nic::Picoseconds now) override {
    drop(static_cast<Traveller&>(*transit).outcome, reason_of(reason), now);
    ended(std::move(transit));
  }

  void sent(std::unique_ptr<nic::Transit> transit, nic::Picoseconds now) override {
    static_cast<Traveller&>(*transit).outcome.end_ps = now;
    ended(std::move(transit));
  }

  void interrupt(uint32_t queue) override { host_.interrupt(queue); }

 private:
  // Buffers are used again, since making one costs more than a packet's whole way.
  std::unique_ptr<Traveller> fresh() {
    if (idle_.empty()) return std::make_unique<Traveller>();
    auto traveller = std::move(idle_.back());
    idle_.pop_back();
    return traveller;
  }

  void ended(std::unique_ptr<nic::Transit> transit) {
    std::unique_ptr<Traveller> traveller(static_cast<Traveller*>(transit.release()));
    Outcome& outcome = traveller->outcome;
    outcome.arrival_ps = traveller->arrival;
    outcome.queue = traveller->packet.rx_queue_index;
    tally_.add(outcome);
    sink_.done(traveller->packet, outcome);
    idle_.push_back(std::move(traveller));
  }

  const FrameSource& source_;
  OutcomeSink& sink_;
  Environments environments_;
  Path offload_path_;
  Tally tally_;
  std::vector<std::unique_ptr<Traveller>> idle_;
  nic::Wheel wheel_;
  nic::Nic nic_;
  Host host_;
};

}  // namespace

Result<RunSummary> run_timed(const FrameSource& source, Hooks& hooks, const RunOptions& options,
                             OutcomeSink& sink) {
  if (!nic::prepare_systemc()) {
    return fail(ExitCode::usage,
                "SystemC simulates once in a process; start another process for another timed "
                "run.");
  }
  try {
    System system(source, hooks, options, sink);
    return system.run();
  } catch (const sc_core::sc_report& report) {
    return fail(ExitCode::run_time_fault, "SystemC ended the simulation: {}.", report.what());
  }
}

}  // namespace xnic::sim
