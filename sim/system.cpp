// The timed system: wires source, NIC and host around one event wheel and collects outcomes.
// It leaves out more than one card; its ports are the interfaces at which captures come in. What
// NIC and host leave out is said in nic/nic.cpp and sim/host.cpp. Test: tests/sim/system_test.cpp.
#include "sim/system.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <optional>
#include <utility>

#include "nic/nic.h"
#include "nic/wheel.h"
#include "sim/host.h"
#include "sim/path.h"
#include "sim/timeline.h"

namespace xnic::sim {
namespace {

DropReason reason_of(nic::NicDrop drop) {
  constexpr std::array kReasons = {DropReason::runt, DropReason::oversize,
                                   DropReason::rx_queue_full, DropReason::no_descriptor};
  return kReasons[static_cast<size_t>(drop)];
}

// From the first bit on the wire to the last; in the card, up to host memory; waiting for a poll;
// on the CPU; from there out of the card.
// How far the model runs ahead of SystemC's clock: nothing but the model is on it.
constexpr nic::Picoseconds kQuantum = 1'000'000 * nic::kPicosecondsPerNanosecond;

constexpr std::array<std::string_view, 5> kStages = {"wire", "card", "ring", "host", "transmit"};

class System final : public nic::NicClient, public HostClient {
 public:
  System(const FrameSource& source, const InterfaceHooks& hooks, const RunOptions& options,
         OutcomeSink& sink)
      : source_(source),
        sink_(sink),
        wanted_(sink.wants_packets()),
        timeline_(options.timeline),
        has_engine_(std::ranges::any_of(hooks.all(),
                                        [](const InterfaceHooks::Entry& interface) {
                                          constexpr auto kOffload = vm::HookPoint::xdp_offload;
                                          const auto point = static_cast<size_t>(kOffload);
                                          return (*interface.hooks)[point].attached();
                                        })),
        ports_(distinct(options.entrances)),
        environments_(options),
        offload_path_(hooks, offload_costs(options.profile)),
        wheel_("wheel", options.exact ? 0 : kQuantum),
        nic_("nic0", options.profile,
             {.lossy = options.lossy,
              .mtu = options.mtu,
              .ports = static_cast<uint32_t>(ports_.size()),
              .exact = options.exact,
              .offloads = has_engine_,
              .hashes = wanted_ || hooks.see_rss_hashes(),
              .port_of_source = ports_of(options.entrances)},
             wheel_, *this),
        memory_("memory", options.profile, nic_.buffers()),
        host_("host", options.profile, hooks, environments_, wheel_, nic_, memory_, ports_,
              options.exact, *this) {
    host_.registers.bind(nic_.bar.socket);
    nic_.dma.bind(memory_.socket);
    for (Path* path : {&host_.path(), &offload_path_}) {
      path->set_copy_sent(options.copy_sent);
      path->set_socket_received(options.socket_received);
      path->set_keeps_events(wanted_);
    }
  }

  Result<RunSummary> run() {
    if (timeline_ != nullptr) timeline_->begin(places());
    host_.start();
    for (const uint32_t ifindex : ports_) {
      offload_.emplace_back(offload_path_, vm::HookPoint::xdp_offload, ifindex);
    }
    nic_.start();
    sc_core::sc_start();
    if (timeline_ != nullptr) timeline_->finish();
    if (nic_.error()) return tl::unexpected(*nic_.error());
    if (wheel_.out_of_time()) {
      return fail(ExitCode::bad_input,
                  "The run is too long for the simulated clock, which ends after {} days; shorten "
                  "the capture, its gaps (--max-gap) or the number of loops.",
                  nic::kEndOfTime / (86'400ull * 1'000'000'000'000ull));
    }
    RunSummary summary = tally_.summary();
    for (size_t i = 0; i < kStages.size(); ++i) {
      summary.stages.push_back({kStages[i], stages_[i].summary()});
    }
    summary.resources = nic_.resources();
    summary.resources.push_back(
        {.name = "DRAM", .served = memory_.dram().served, .busy = memory_.dram().busy});
    for (nic::Resource& cpu : host_.resources()) summary.resources.push_back(std::move(cpu));
    return summary;
  }

  Result<std::span<const traces::Frame>> next_frames() override {
    const auto got = source_(frames_);
    if (!got) return tl::unexpected(got.error());
    const auto frames = std::span<const traces::Frame>(frames_).first(*got);
    if (timeline_ != nullptr) {
      for (const traces::Frame& frame : frames) timeline_->came(frame.time_ps);
    }
    return frames;
  }

  std::unique_ptr<nic::Transit> taken_in(const nic::Arrival& arrival) override {
    auto traveller = fresh();
    traveller->come(arrival);
    traveller->in_port = arrival.port;
    vm::Packet& packet = traveller->packet;
    const std::span<const uint8_t> bytes = arrival.frame.bytes;
    if (bytes.size() <= vm::kLinearSize) {
      std::memcpy(&traveller->page[vm::kHeadroom], bytes.data(), bytes.size());
      packet.borrow(traveller->page.data(), static_cast<uint32_t>(bytes.size()));
    } else {
      packet.assign(bytes);
    }
    begin(arrival.frame, packet, traveller->outcome, ports_[arrival.port]);
    nic::Rss::apply(arrival.steering, packet);
    packet.rx_timestamp_ns = arrival.received / nic::kPicosecondsPerNanosecond;
    traveller->outcome.queue = arrival.steering.queue;
    return traveller;
  }

  void refused(const nic::Arrival& arrival, nic::NicDrop reason, nic::Picoseconds now) override {
    if (!wanted_ && timeline_ == nullptr) return tally_.add_drop(reason_of(reason), now);
    lost(taken_in(arrival), reason, now);
  }

  nic::Offloaded offload(nic::Transit& transit, nic::Picoseconds now) override {
    auto& traveller = static_cast<Traveller&>(transit);
    Path::Xdp& program = offload_[traveller.in_port];
    if (!program.attached()) return {};
    Way way{traveller.packet, environments_.offload_of_queue(traveller.queue), traveller.outcome,
            now};
    nic::Offloaded result;
    result.ran = true;
    if (!program.run(way)) {
      const auto port = port_of(traveller.outcome.out_ifindex);
      const bool sends = traveller.outcome.end == End::transmitted && port;
      if (sends) transit.port = *port;
      result.way = sends ? nic::Offloaded::Way::transmit : nic::Offloaded::Way::drop;
    }
    result.work = way.work;
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
  static std::vector<uint32_t> distinct(const std::vector<uint32_t>& ifindexes) {
    std::vector<uint32_t> seen;
    for (const uint32_t ifindex : ifindexes) {
      if (std::ranges::find(seen, ifindex) == seen.end()) seen.push_back(ifindex);
    }
    return seen;
  }

  std::vector<uint32_t> ports_of(const std::vector<uint32_t>& ifindexes) const {
    std::vector<uint32_t> ports;
    for (const uint32_t ifindex : ifindexes) ports.push_back(*port_of(ifindex));
    return ports;
  }

  std::optional<uint32_t> port_of(uint32_t ifindex) const {
    const auto port = std::ranges::find(ports_, ifindex);
    if (port == ports_.end()) return std::nullopt;
    return static_cast<uint32_t>(port - ports_.begin());
  }

  // Buffers are used again, since making one costs more than a packet's whole way.
  std::unique_ptr<Traveller> fresh() {
    if (idle_.empty()) return std::make_unique<Traveller>();
    auto traveller = std::move(idle_.back());
    idle_.pop_back();
    return traveller;
  }

  // A stage lasts until the packet is seen at the next one that it came to, or until its end.
  void add_stages(const Traveller& traveller) {
    const std::array starts = {traveller.arrival, traveller.received, traveller.ready,
                               traveller.taken, traveller.left};
    nic::Picoseconds until = traveller.outcome.end_ps;
    for (size_t i = kStages.size(); i-- > 0;) {
      if (i != 0 && starts[i] == 0) continue;
      stages_[i].add(until - starts[i]);
      until = starts[i];
    }
  }

  // The places of a timeline: two for each port, three of the card, two for each queue, the CPUs.
  std::vector<Place> places() const {
    std::vector<Place> all;
    for (size_t i = 0; i < ports_.size(); ++i) {
      all.push_back({fmt::format("port {} rx", i)});
      all.push_back({fmt::format("port {} tx", i)});
    }
    for (const char* name : {"offload engine", "PCIe to host", "PCIe to NIC"}) {
      all.push_back({name});
    }
    for (uint32_t i = 0; i < nic_.queues(); ++i) {
      all.push_back({fmt::format("rx queue {}", i), true});
      all.push_back({fmt::format("ring {}", i), true});
    }
    for (size_t i = 0; i < environments_.cores.size(); ++i) {
      all.push_back({fmt::format("cpu {}", i)});
    }
    return all;
  }

  void tell(const Traveller& t) {
    const auto card = static_cast<uint32_t>(2 * ports_.size());
    const uint32_t queue = t.in_port * nic_.queues_a_port() + t.queue;
    const uint32_t stores = card + 3 + 2 * queue;
    const uint32_t cpus = card + 3 + 2 * nic_.queues();
    stays_.clear();
    const auto add = [this](uint32_t place, const nic::Service& service) {
      stays_.push_back({place, service.begin, service.end});
    };
    add(2 * t.in_port, t.wire);
    const Outcome& outcome = t.outcome;
    if (t.received != 0) {
      const nic::Picoseconds leaves = t.ready != 0 ? t.to_host.end : outcome.end_ps;
      stays_.push_back({stores, t.received, leaves});
    }
    add(card, t.engine);
    add(card + 1, t.to_host);
    if (t.taken != 0) {
      stays_.push_back({stores + 1, t.ready, t.taken});
      const uint32_t cpu = environments_.of_queue(t.queue).cpu;
      stays_.push_back({cpus + cpu, t.taken, t.left != 0 ? t.left : outcome.end_ps});
    }
    add(card + 2, t.from_host);
    add(2 * t.port + 1, t.wire_out);
    const std::string_view label = outcome.end == End::delivered ? "delivered"
                                   : outcome.end == End::transmitted
                                       ? "transmitted"
                                       : drop_reason_name(outcome.reason);
    timeline_->ended(outcome.packet_id, stays_, label.data());
  }

  void ended(std::unique_ptr<nic::Transit> transit) override {
    std::unique_ptr<Traveller> traveller(static_cast<Traveller*>(transit.release()));
    Outcome& outcome = traveller->outcome;
    outcome.arrival_ps = traveller->arrival;
    tally_.add(outcome);
    if (outcome.end != End::dropped) add_stages(*traveller);
    if (timeline_ != nullptr) tell(*traveller);
    if (wanted_) sink_.done(traveller->packet, outcome);
    idle_.push_back(std::move(traveller));
  }

  const FrameSource& source_;
  OutcomeSink& sink_;
  bool wanted_;  // somebody looks at each packet
  Timeline* timeline_;
  std::vector<Timeline::Stay> stays_;  // of one packet
  bool has_engine_;                    // a program runs on the card
  std::vector<uint32_t> ports_;        // the interface of each port
  std::array<traces::Frame, 32> frames_;
  Environments environments_;
  Path offload_path_;
  std::vector<Path::Xdp> offload_;  // by port
  Tally tally_;
  std::array<Latencies, kStages.size()> stages_;
  std::vector<std::unique_ptr<Traveller>> idle_;
  nic::Wheel wheel_;
  nic::Nic nic_;
  nic::HostMemory memory_;
  Host host_;
};

}  // namespace

Result<RunSummary> run_timed(const FrameSource& source, const InterfaceHooks& hooks,
                             const RunOptions& options, OutcomeSink& sink) {
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
