// What it leaves out: an sk_buff that a cpumap sends to another CPU stays on its thread.
// Test: tests/sim/line_command_test.cpp.
#include "sim/line.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "nic/cycles.h"
#include "nic/mac.h"
#include "nic/rss.h"
#include "sim/hand_over.h"
#include "sim/hook_copies.h"
#include "sim/path.h"

namespace xnic::sim {
namespace {

constexpr uint64_t kDrainNs = 20'000'000;  // how long what waits in ports is taken after the end

// How long a thread that runs a burst, or waits for its CPU, is waited for.
constexpr auto kPatience = std::chrono::milliseconds(20);

// A count as words, which it is made of.
using Words = std::array<uint64_t, sizeof(LineCount) / sizeof(uint64_t)>;

// Counters that their thread alone writes, and others read.
class SharedCount {
 public:
  void publish(const LineCount& count) {
    const auto words = std::bit_cast<Words>(count);
    for (size_t i = 0; i < words.size(); ++i) {
      words_[i].store(words[i], std::memory_order_relaxed);
    }
  }
  LineCount read() const {
    Words words;
    for (size_t i = 0; i < words.size(); ++i) {
      words[i] = words_[i].load(std::memory_order_relaxed);
    }
    return std::bit_cast<LineCount>(words);
  }

 private:
  alignas(64) std::array<std::atomic<uint64_t>, std::tuple_size_v<Words>> words_{};
};

}  // namespace

void LineCount::add(const LineCount& other) {
  auto sums = std::bit_cast<Words>(*this);
  const auto more = std::bit_cast<Words>(other);
  for (size_t i = 0; i < sums.size(); ++i) sums[i] += more[i];
  *this = std::bit_cast<LineCount>(sums);
}

LineCount LineCount::since(const LineCount& before) const {
  auto words = std::bit_cast<Words>(*this);
  const auto earlier = std::bit_cast<Words>(before);
  for (size_t i = 0; i < words.size(); ++i) words[i] -= earlier[i];
  return std::bit_cast<LineCount>(words);
}

uint64_t LineCount::dropped() const {
  uint64_t sum = 0;
  for (const uint64_t count : drops) sum += count;
  return sum;
}

class Line::Worker {
 public:
  Worker(Line& line, uint32_t thread);

  void start() {
    thread_ = std::jthread([this] { work(); });
  }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  LineCount count() const { return shared_.read(); }
  // Of the programs that it runs; what it counted with those before is told.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  // A frame whose flow is another thread's.
  struct Spread {
    nic::PortFrame* frame;
    size_t port;
  };
  // A packet that a cpumap sends to another CPU, in its frame's memory.
  struct ForCpu {
    std::unique_ptr<vm::Packet> packet;
    nic::PortFrame* frame;
    size_t port;
    vm::RedirectEntry entry;
  };
  // What threads leave to this one.
  struct Inbox {
    HandOver<Spread> spread;
    HandOver<ForCpu> for_cpu;
  };
  // Called by other threads.
  Inbox& from(size_t thread) { return *inbox_[thread]; }

 private:
  // A receive queue that this thread polls.
  struct Source {
    size_t port;
    uint32_t queue;
    bool spreads;  // its frames go to the threads of their flows
    bool ended = false;
  };

  void work();
  void take_programs();
  bool finished() const;
  bool poll(Source& source);
  bool take_spread();
  bool take_for_cpu();
  void spread(const Source& source, std::span<nic::PortFrame* const> frames);
  void run(size_t port, uint32_t queue, std::span<nic::PortFrame* const> frames);
  // Frames of a burst that stay here; of which port they are.
  struct Ended {
    explicit Ended(size_t of) : port(of) {}

    size_t port;
    size_t count = 0;
    std::array<nic::PortFrame*, kMostBurst> frames;
  };
  void free(const Ended& ended);
  // Frames of a burst that leave by the port where they came in, and their packets.
  struct Leaving {
    explicit Leaving(size_t of) : port(of) {}
    void add(nic::PortFrame* frame, vm::Packet* packet) {
      frames[count] = frame;
      packets[count++] = packet;
    }

    size_t port;
    size_t count = 0;
    std::array<nic::PortFrame*, kMostBurst> frames;
    std::array<vm::Packet*, kMostBurst> packets;
  };
  void send(Leaving& leaving);
  void prefetch(uint32_t ifindex, size_t packets);
  // Whether another thread is the CPU that the packet at hand is to go to: each that a cpumap may
  // have is one.
  bool is_for_thread(const vm::Redirect& redirect);
  void send_to_cpu(Ended& ended, nic::PortFrame* frame, std::unique_ptr<vm::Packet>& packet,
                   Outcome& outcome);
  // Counts the end of a packet's way. The frame goes on to where the packet goes.
  void finish(Ended& ended, nic::PortFrame* frame, vm::Packet& packet, Outcome& outcome);
  void flush();
  uint64_t now_ns() const {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                     std::chrono::steady_clock::now() - line_.started_)
                                     .count());
  }

  Line& line_;
  uint32_t number_;
  std::vector<Source> sources_;
  std::vector<std::unique_ptr<Inbox>> inbox_;  // by sending thread
  Environments environments_;
  std::optional<HookCopies> hooks_;
  std::optional<Path> path_;
  std::atomic<uint64_t> generation_ = 0;
  bool hashes_ = false;  // programs see the RSS hash of packets
  nic::Rss rss_;

  std::array<std::unique_ptr<vm::Packet>, kMostBurst> packets_;
  std::optional<vm::Redirect> to_cpu_;  // where the packet at hand goes, if another thread takes it
  std::vector<bool> sends_;             // by port: something waits
  LineCount counted_;
  SharedCount shared_;
  std::jthread thread_;
};

Line::Worker::Worker(Line& line, uint32_t thread)
    : line_(line),
      number_(thread),
      environments_(line.options_.run),
      rss_(static_cast<uint32_t>(line.options_.cpus.size())),
      sends_(line.options_.ports.size()) {
  const auto threads = static_cast<uint32_t>(line.options_.cpus.size());
  for (size_t port = 0; port < line.options_.ports.size(); ++port) {
    const nic::PortFacts& facts = line.options_.ports[port].port->facts();
    for (uint32_t queue = 0; queue < facts.receive_queues; ++queue) {
      if ((port + queue) % threads != thread) continue;
      const bool spreads = threads > 1 && !facts.spreads;
      sources_.push_back({.port = port, .queue = queue, .spreads = spreads});
    }
  }
  for (uint32_t i = 0; i < threads; ++i) inbox_.push_back(std::make_unique<Inbox>());
  for (auto& packet : packets_) packet = std::make_unique<vm::Packet>();
}

void Line::Worker::take_programs() {
  // While somebody loads others, those that are there go on.
  std::unique_lock lock(line_.hooks_mutex_, std::defer_lock);
  if (!hooks_) {
    lock.lock();
  } else if (!lock.try_lock()) {
    return;
  }
  const uint64_t generation = line_.generation_.load(std::memory_order_relaxed);
  if (hooks_) hooks_->report();
  hooks_.emplace(line_.hooks_);
  hashes_ = line_.hooks_.see_rss_hashes();
  path_.emplace(hooks_->hooks(), PathCosts());
  path_->set_keeps_events(false);
  path_->set_socket_received(line_.options_.run.socket_received);
  path_->set_cpu_takes([this](const vm::Redirect& redirect) { return is_for_thread(redirect); });
  path_->set_copy_sent([this](const vm::Packet& packet, uint32_t ifindex, nic::Picoseconds) {
    const auto port = line_.port_of_ifindex_[ifindex];
    if (!port) return;
    nic::Port& out = *line_.options_.ports[*port].port;
    nic::PortFrame* frame = out.make(0);
    if (frame == nullptr) {
      ++counted_.copies[static_cast<size_t>(End::dropped)];
      return;
    }
    out.send(number_, frame, packet);
    sends_[*port] = true;
  });
  generation_.store(generation, std::memory_order_release);
}

void Line::Worker::work() {
  if (auto entered = line_.dpdk_.enter_thread(line_.options_.cpus[number_]); !entered) {
    const std::lock_guard lock(line_.hooks_mutex_);
    if (!line_.error_) line_.error_ = entered.error();
    line_.stopping_ = true;
  }
  uint64_t drain_until = UINT64_MAX;
  bool polls = true;
  bool hands_over = true;
  for (uint64_t before = nic::cycles_now();;) {
    if (line_.generation_.load(std::memory_order_acquire) !=
        generation_.load(std::memory_order_relaxed)) {
      take_programs();
    }
    bool any = take_spread();
    any = take_for_cpu() || any;
    if (polls) {
      for (Source& source : sources_) any = poll(source) || any;
    }
    if (any) {
      flush();
    } else {
      environments_.run_timers(now_ns());
    }
    const uint64_t after = nic::cycles_now();
    (any ? counted_.busy_cycles : counted_.idle_cycles) += after - before;
    before = after;
    shared_.publish(counted_);
    if (polls) {
      const bool stopping = line_.stopping_.load(std::memory_order_relaxed);
      if (stopping && drain_until == UINT64_MAX) drain_until = now_ns() + kDrainNs;
      if (finished() || (stopping && (!any || now_ns() > drain_until))) {
        polls = false;
        line_.polling_.fetch_sub(1, std::memory_order_release);
      }
    } else if (hands_over && !any && line_.polling_.load(std::memory_order_acquire) == 0) {
      // Nobody spreads frames any more.
      while (take_spread()) flush();
      hands_over = false;
      line_.handing_over_.fetch_sub(1, std::memory_order_release);
    } else if (!any && line_.handing_over_.load(std::memory_order_acquire) == 0) {
      // Nobody leaves anything to this thread any more.
      while (take_for_cpu()) flush();
      break;
    }
  }
  shared_.publish(counted_);
  if (hooks_) {
    const std::lock_guard lock(line_.hooks_mutex_);
    hooks_->report();
  }
  line_.dpdk_.leave_thread();
  line_.at_work_.fetch_sub(1, std::memory_order_release);
}

// Nothing more will come to the queues of this thread, or be taken.
bool Line::Worker::finished() const {
  if (line_.packets_taken_.load(std::memory_order_relaxed) >= line_.options_.packets) return true;
  return std::ranges::all_of(sources_, &Source::ended);
}

bool Line::Worker::poll(Source& source) {
  if (source.ended) return false;
  nic::Port& port = *line_.options_.ports[source.port].port;
  std::array<nic::PortFrame*, kMostBurst> frames;
  size_t most = line_.options_.burst;
  const bool limited = line_.options_.packets != UINT64_MAX;
  if (limited) {
    const auto wanted = static_cast<int64_t>(most);
    const int64_t left = line_.packets_left_.fetch_sub(wanted, std::memory_order_relaxed);
    most = static_cast<size_t>(std::clamp<int64_t>(left, 0, wanted));
  }
  const size_t got = most == 0 ? 0 : port.receive(source.queue, std::span(frames).first(most));
  if (limited) {
    line_.packets_left_.fetch_add(static_cast<int64_t>(line_.options_.burst - got),
                                  std::memory_order_relaxed);
    line_.packets_taken_.fetch_add(got, std::memory_order_relaxed);
  }
  if (got == 0) {
    source.ended = most != 0 && port.facts().ends;
    return false;
  }
  const auto burst = std::span<nic::PortFrame* const>(frames).first(got);
  if (source.spreads) {
    spread(source, burst);
  } else {
    run(source.port, source.queue, burst);
  }
  return true;
}

void Line::Worker::spread(const Source& source, std::span<nic::PortFrame* const> frames) {
  nic::Port& port = *line_.options_.ports[source.port].port;
  std::array<nic::PortFrame*, kMostBurst> own;
  size_t count = 0;
  for (nic::PortFrame* frame : frames) {
    const uint32_t thread = rss_.steer(port.bytes(frame)).queue;
    if (thread == number_) {
      own[count++] = frame;
      continue;
    }
    // The other thread is slower than this one: waiting for it keeps all frames.
    Spread item{frame, source.port};
    while (!line_.workers_[thread]->from(number_).spread.put(item)) {
      if (!take_spread()) std::this_thread::yield();
    }
  }
  run(source.port, number_, std::span<nic::PortFrame* const>(own).first(count));
}

bool Line::Worker::take_spread() {
  bool any = false;
  for (const auto& inbox : inbox_) {
    std::array<nic::PortFrame*, kMostBurst> frames;
    size_t count = 0;
    size_t port = 0;
    const auto run_them = [&] {
      run(port, number_, std::span<nic::PortFrame* const>(frames).first(std::exchange(count, 0)));
    };
    for (size_t i = 0; i < kMostBurst; ++i) {
      const auto item = inbox->spread.take();
      if (!item) break;
      any = true;
      if (item->port != port && count != 0) run_them();
      port = item->port;
      frames[count++] = item->frame;
    }
    if (count != 0) run_them();
  }
  return any;
}

bool Line::Worker::take_for_cpu() {
  bool any = false;
  Outcome outcome;
  for (const auto& inbox : inbox_) {
    for (size_t i = 0; i < kMostBurst; ++i) {
      auto item = inbox->for_cpu.take();
      if (!item) break;
      any = true;
      vm::Packet& packet = *item->packet;
      outcome.packet_id = packet.id;
      outcome.queue = packet.rx_queue_index;
      outcome.in_ifindex = packet.ingress_ifindex;
      const uint64_t now_ps = now_ns() * nic::kPicosecondsPerNanosecond;
      Way way{packet, environments_.cores[number_], outcome, now_ps};
      path_->arrive_at_cpu(way, item->entry);
      Ended ended(item->port);
      finish(ended, item->frame, packet, outcome);
      free(ended);
    }
  }
  return any;
}

bool Line::Worker::is_for_thread(const vm::Redirect& redirect) {
  if (redirect.key == number_) return false;
  to_cpu_ = redirect;
  return true;
}

void Line::Worker::send_to_cpu(Ended& ended, nic::PortFrame* frame,
                               std::unique_ptr<vm::Packet>& packet, Outcome& outcome) {
  const vm::Redirect to = *std::exchange(to_cpu_, std::nullopt);
  auto& queue = line_.workers_[to.key]->from(number_).for_cpu;
  ForCpu item{std::move(packet), frame, ended.port, to.entry};
  if (queue.put(item, to.entry.queue_size)) {
    packet = std::make_unique<vm::Packet>();
    return;
  }
  packet = std::move(item.packet);
  drop(outcome, DropReason::cpumap_full, outcome.end_ps);
  finish(ended, frame, *packet, outcome);
}

void Line::Worker::free(const Ended& ended) {
  if (ended.count == 0) return;
  line_.options_.ports[ended.port].port->free(
      std::span<nic::PortFrame* const>(ended.frames).first(ended.count));
}

void Line::Worker::run(size_t port, uint32_t queue, std::span<nic::PortFrame* const> frames) {
  if (frames.empty()) return;
  nic::Port& from = *line_.options_.ports[port].port;
  const uint32_t ifindex = line_.options_.ports[port].ifindex;
  std::array<vm::Packet*, kMostBurst> packets;
  for (size_t i = 0; i < frames.size(); ++i) packets[i] = packets_[i].get();
  from.wrap(frames, std::span<vm::Packet* const>(packets).first(frames.size()));
  const uint64_t now = now_ns();
  const uint64_t now_ps = now * nic::kPicosecondsPerNanosecond;
  environments_.run_timers(now);
  vm::Environment& environment = environments_.cores[number_];
  for (size_t i = 0; i < frames.size(); ++i) {
    vm::Packet& packet = *packets_[i];
    packet.id = counted_.received + i + 1;
    packet.ifindex = packet.ingress_ifindex = ifindex;
    if (hashes_ && packet.rx_hash_type == 0) rss_.steer(packet);
    packet.rx_queue_index = queue;
    if (!packet.rx_timestamp_ns) packet.rx_timestamp_ns = now;
  }
  prefetch(ifindex, frames.size());
  Path::Arrivals arrivals(*path_, ifindex, *environment.network);
  environment.now_ns = now;
  Ended ended(port);
  Leaving leaving(port);
  Outcome outcome;
  outcome.queue = queue;
  outcome.in_ifindex = ifindex;
  for (size_t i = 0; i < frames.size(); ++i) {
    vm::Packet& packet = *packets_[i];
    const uint32_t length = packet.length();
    counted_.received_bytes += length;
    const auto check = nic::check_frame(packet.linear(), length, line_.options_.run.mtu);
    if (check != nic::FrameCheck::good) {
      drop(outcome, check == nic::FrameCheck::runt ? DropReason::runt : DropReason::oversize,
           now_ps);
    } else if (arrivals.plain()) {
      vm::Invocation invocation(packet, environment);
      vm::Action action;
      const auto fate = arrivals.run(invocation, action);
      if (fate == Path::Arrivals::Fate::transmitted) {
        leaving.add(frames[i], &packet);
        continue;
      }
      if (fate != Path::Arrivals::Fate::other) {
        const bool dropped = fate == Path::Arrivals::Fate::dropped;
        ++(dropped ? counted_.drops[static_cast<size_t>(DropReason::xdp_drop)]
                   : counted_.delivered);
        ended.frames[ended.count++] = frames[i];
        continue;
      }
      outcome.packet_id = packet.id;
      arrivals.go_on(invocation, action, outcome, now_ps);
    } else {
      outcome.packet_id = packet.id;
      arrivals.run(packet, environment, outcome, now_ps);
    }
    // Those in front of it leave first.
    send(leaving);
    if (to_cpu_) {
      send_to_cpu(ended, frames[i], packets_[i], outcome);
    } else {
      finish(ended, frames[i], packet, outcome);
    }
  }
  send(leaving);
  counted_.received += frames.size();
  free(ended);
}

void Line::Worker::send(Leaving& leaving) {
  if (leaving.count == 0) return;
  const size_t count = std::exchange(leaving.count, 0);
  const auto packets = std::span<vm::Packet* const>(leaving.packets).first(count);
  counted_.transmitted += count;
  for (const vm::Packet* packet : packets) counted_.transmitted_bytes += packet->length();
  line_.options_.ports[leaving.port].port->send(
      number_, std::span<nic::PortFrame* const>(leaving.frames).first(count), packets);
  sends_[leaving.port] = true;
}

// What the first XDP program will look up, where it has a prologue.
void Line::Worker::prefetch(uint32_t ifindex, size_t packets) {
  const vm::Hook* hook = path_->first_xdp(ifindex);
  if (hook == nullptr || !hook->prefetches()) return;
  std::array<vm::Hook::Waiting, kMostBurst> waiting;
  for (size_t i = 0; i < packets; ++i) {
    waiting[i] = {packets_[i].get(), &environments_.cores[number_]};
  }
  hook->prefetch(std::span(waiting).first(packets));
}

void Line::Worker::finish(Ended& ended, nic::PortFrame* frame, vm::Packet& packet,
                          Outcome& outcome) {
  if (outcome.end == End::delivered) {
    ++counted_.delivered;
    ended.frames[ended.count++] = frame;
  } else if (outcome.end == End::dropped) {
    ++counted_.drops[static_cast<size_t>(outcome.reason)];
    ended.frames[ended.count++] = frame;
  } else {
    const uint32_t own_ifindex = line_.options_.ports[ended.port].ifindex;
    const auto out = outcome.out_ifindex == own_ifindex
                         ? std::optional(ended.port)
                         : line_.port_of_ifindex_[outcome.out_ifindex];
    if (out) {
      ++counted_.transmitted;
      counted_.transmitted_bytes += packet.length();
      line_.options_.ports[*out].port->send(number_, frame, packet);
      sends_[*out] = true;
    } else {
      ++counted_.drops[static_cast<size_t>(DropReason::no_port)];
      ended.frames[ended.count++] = frame;
    }
  }
  for (size_t i = 0; i < kEnds; ++i) counted_.copies[i] += std::exchange(outcome.copies[i], 0);
}

void Line::Worker::flush() {
  for (size_t port = 0; port < sends_.size(); ++port) {
    if (!sends_[port]) continue;
    sends_[port] = false;
    const size_t lost = line_.options_.ports[port].port->flush(number_);
    // Copies are sent the same way, and may be what was lost.
    const uint64_t own = std::min<uint64_t>(lost, counted_.transmitted);
    counted_.transmitted -= own;
    counted_.drops[static_cast<size_t>(DropReason::tx_queue_full)] += own;
  }
}

Line::Line(nic::Dpdk& dpdk, InterfaceHooks hooks, LineOptions options)
    : dpdk_(dpdk),
      hooks_(std::move(hooks)),
      options_(std::move(options)),
      packets_left_(static_cast<int64_t>(std::min<uint64_t>(options_.packets, INT64_MAX))) {
  for (const vm::Interface& interface : options_.run.network->interfaces) {
    port_of_ifindex_.resize(std::max<size_t>(port_of_ifindex_.size(), interface.ifindex + 1));
  }
  for (size_t port = 0; port < options_.ports.size(); ++port) {
    port_of_ifindex_[options_.ports[port].ifindex] = port;
  }
  for (uint32_t thread = 0; thread < options_.cpus.size(); ++thread) {
    workers_.push_back(std::make_unique<Worker>(*this, thread));
  }
}

Line::~Line() { static_cast<void>(stop()); }

void Line::start() {
  started_ = std::chrono::steady_clock::now();
  at_work_ = polling_ = handing_over_ = static_cast<uint32_t>(workers_.size());
  for (const auto& worker : workers_) worker->start();
}

Result<void> Line::stop() {
  stopping_ = true;
  for (const auto& worker : workers_) worker->join();
  if (ended_ns_ == 0) ended_ns_ = elapsed_ns();
  if (error_) return tl::unexpected(*error_);
  return {};
}

std::map<std::string_view, uint64_t> Line::verdicts() {
  change([] {});
  const uint64_t asked = generation_.load(std::memory_order_relaxed);
  const auto told = [&] {
    return !running() || std::ranges::all_of(workers_, [&](const std::unique_ptr<Worker>& worker) {
      return worker->generation() >= asked;
    });
  };
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!told() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  const std::lock_guard lock(hooks_mutex_);
  std::map<std::string_view, uint64_t> sums;
  for (const InterfaceHooks::Entry& interface : hooks_.all()) {
    for (const vm::Hook& hook : *interface.hooks) {
      for (const auto& [verdict, count] : hook.statistics().verdicts) sums[verdict] += count;
    }
  }
  return sums;
}

LineCount Line::count(size_t thread) const { return workers_[thread]->count(); }

LineCount Line::count() const {
  LineCount sum;
  for (const auto& worker : workers_) sum.add(worker->count());
  return sum;
}

uint64_t Line::elapsed_ns() const {
  if (ended_ns_ != 0) return ended_ns_;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now() - started_)
                                   .count());
}

RunSummary Line::summary() const {
  const LineCount all = count();
  RunSummary summary;
  summary.frames = all.received;
  summary.delivered = all.delivered;
  summary.transmitted = all.transmitted;
  summary.drops = all.drops;
  summary.copies = all.copies;
  summary.simulated_ns = elapsed_ns();
  return summary;
}

}  // namespace xnic::sim
