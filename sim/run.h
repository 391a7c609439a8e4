#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "nic/profile.h"
#include "nic/resource.h"
#include "nic/time.h"
#include "sim/latencies.h"
#include "sim/outcome.h"
#include "traces/player.h"
#include "vm/invocation.h"
#include "vm/result.h"
#include "vm/timers.h"

namespace xnic::sim {

class Timeline;

// Gives the next frames, as many as are at hand and at least one; 0 at the end. Times never
// decrease; bytes need only live until the next call. traces::Player::next_burst fits.
using FrameSource = std::function<Result<size_t>(std::span<traces::Frame>)>;

// What a run needs to know, timed or not.
struct RunOptions {
  nic::NicProfile profile;
  uint64_t seed = 0;   // of bpf_get_prandom_u32
  uint32_t mtu = 0;    // bytes behind the Ethernet header; 0 is no limit
  bool lossy = false;  // timed only: frames keep their pace, and drops for lack of room are real
  bool exact = false;  // timed only: every packet has events of its own
  bool counts_runs = false;  // programs count their runs: Kernel::stats_enabled()
  std::function<void(std::string_view)> trace;  // lines of bpf_trace_printk; may be empty
  // Environment::record of every CPU; may be empty.
  std::function<void(vm::Map&, const vm::Environment&)> record = {};
  // Environment::fault of every CPU; may be empty.
  std::function<void(const vm::Fault&)> fault = {};
  // Path::CopySent and Path::SocketReceived; may be empty.
  std::function<void(const vm::Packet&, uint32_t ifindex, uint64_t time_ps)> copy_sent = {};
  std::function<void(const vm::Packet&, uint64_t socket, uint64_t time_ps)> socket_received = {};
  // The interfaces at which frames enter, by Frame::source: each once a port of the card.
  std::vector<uint32_t> entrances = {vm::kNicIfindex};
  const vm::Network* network = &vm::default_network();  // must outlive the run
  Timeline* timeline = nullptr;  // timed only: is told of every packet; must outlive the run
  uint32_t threads = 1;          // untimed only: which run programs; 1 reads and writes, too
};

// A part of the way that packets take one after the other.
struct StageLatency {
  std::string_view name;  // static string
  LatencySummary latency;
};

// frames = delivered + transmitted + the sum of drops.
struct RunSummary {
  uint64_t frames = 0;
  uint64_t delivered = 0;
  uint64_t transmitted = 0;
  std::array<uint64_t, kDropReasons> drops{};  // by DropReason
  std::array<uint64_t, kEnds> copies{};        // of copies, which are no frames, by End
  uint64_t simulated_ns = 0;                   // until the last packet's end
  // Of packets delivered or transmitted, from arrival to end.
  LatencySummary latency;
  // Timed runs only: how those divide, and what the parts of the model did.
  std::vector<StageLatency> stages{};
  std::vector<nic::Resource> resources{};
};

// Adds up outcomes.
class Tally {
 public:
  void add(const Outcome& outcome);
  // A frame that was lost at `end_ps` before it was a packet.
  void add_drop(DropReason reason, uint64_t end_ps);
  void add(const Tally& other);
  RunSummary summary() const;

 private:
  RunSummary sums_;
  uint64_t end_ps_ = 0;
  Latencies latencies_;
};

// The machine that each CPU of the host shows to programs, and with the same CPU numbers what the
// NIC's engine shows, whose random numbers are its own.
struct Environments {
  explicit Environments(const RunOptions& options);

  // CPUs and queues pair up as the driver sets its interrupt affinity.
  vm::Environment& of_queue(uint32_t queue) {
    return cores[queue < cores.size() ? queue : queue % cores.size()];
  }
  vm::Environment& offload_of_queue(uint32_t queue);
  // Fires the timers that are due, each on its CPU.
  void run_timers(uint64_t now_ns);

  std::vector<vm::Environment> cores;
  vm::Environment offload;
  vm::Timers timers;  // of the host
};

}  // namespace xnic::sim
