#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "nic/port.h"
#include "nic/ports/dpdk.h"
#include "sim/interface_hooks.h"
#include "sim/run.h"

namespace xnic::sim {

// A port and the interface that it is.
struct LinePort {
  nic::Port* port;
  uint32_t ifindex;
};

struct LineOptions {
  RunOptions run;  // its profile has a core and a queue for each thread
  std::vector<LinePort> ports;
  std::vector<int> cpus;          // of the threads, one each; negative: anywhere
  uint32_t burst = 32;            // frames that a queue is asked for at a time, at most kMostBurst
  uint64_t packets = UINT64_MAX;  // so many are received at most
};

// What a thread, or all of them, did so far.
struct LineCount {
  uint64_t received = 0;  // frames
  uint64_t received_bytes = 0;
  uint64_t delivered = 0;
  uint64_t transmitted = 0;
  uint64_t transmitted_bytes = 0;
  std::array<uint64_t, kDropReasons> drops{};
  std::array<uint64_t, kEnds> copies{};
  uint64_t busy_cycles = 0;  // of bursts with frames in them
  uint64_t idle_cycles = 0;

  void add(const LineCount& other);
  LineCount since(const LineCount& before) const;
  uint64_t dropped() const;
};

// The data path over real ports: each thread takes bursts from receive queues of its own, runs them
// through the hooks to the ends of their ways, and sends what leaves. A port with fewer queues than
// there are threads has its frames spread by their RSS hash, flow by flow.
class Line {
 public:
  static constexpr uint32_t kMostBurst = 64;

  // Ports, hooks and environment must outlive it.
  Line(nic::Dpdk& dpdk, InterfaceHooks hooks, LineOptions options);
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  void start();
  // Changes the programs at the hooks, which may take its time: each thread runs the new ones from
  // its next burst on. Until then the old ones stay.
  template <class Change>
  void change(Change change_hooks) {
    const std::lock_guard lock(hooks_mutex_);
    change_hooks();
    generation_.fetch_add(1, std::memory_order_release);
  }
  // False once all threads have ended by themselves: by the limit of packets, or because all ports
  // read files and those are at their ends.
  bool running() const { return at_work_.load(std::memory_order_acquire) != 0; }
  // Takes what waits in the ports, for a short time at most, and ends. Hooks have the counts then.
  // Error: what kept a thread from its work.
  Result<void> stop();

  size_t threads() const { return options_.cpus.size(); }
  // How often programs gave which verdict, by its name. Asks the threads, which tell what they
  // counted before their next burst; one that does not get to it within 20 ms tells the next time.
  std::map<std::string_view, uint64_t> verdicts();
  LineCount count(size_t thread) const;
  LineCount count() const;  // of all threads
  uint64_t elapsed_ns() const;
  RunSummary summary() const;  // when it has stopped

 private:
  class Worker;
  friend class Worker;

  nic::Dpdk& dpdk_;
  InterfaceHooks hooks_;
  LineOptions options_;
  std::vector<std::optional<size_t>> port_of_ifindex_;
  std::vector<std::unique_ptr<Worker>> workers_;

  std::mutex hooks_mutex_;
  std::atomic<uint64_t> generation_ = 1;
  std::atomic<bool> stopping_ = false;
  std::atomic<uint32_t> at_work_ = 0;
  std::atomic<uint32_t> polling_ = 0;       // threads that still take frames from ports
  std::atomic<uint32_t> handing_over_ = 0;  // and those that still run what others spread
  std::atomic<int64_t> packets_left_;       // to be asked for
  std::atomic<uint64_t> packets_taken_ = 0;
  std::chrono::steady_clock::time_point started_;
  uint64_t ended_ns_ = 0;
  std::optional<Error> error_;  // under hooks_mutex_
};

}  // namespace xnic::sim
