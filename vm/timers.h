#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "vm/invocation.h"

namespace xnic::vm {

class Program;

// The bpf_timers of one machine. A timer lives in a map value, which holds its number; deleting the
// entry, or updating it in an array, wipes the number, and the timer is no more. Time is the
// run's: whoever moves a clock on calls run_until(), and what is due happens then, in order.
// What it leaves out: that a map must be held by user space; timers of inner maps that are gone
// before they fire (their program holds only the maps that it names).
// Test: tests/sim/timers_test.cpp.
class Timers {
 public:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  // The helpers: 0 or -errno. `timer` points at the bpf_timer, `value` at the value around it.
  int init(uint8_t* timer, Map& map, uint8_t* value, uint64_t flags);
  int set_callback(const uint8_t* timer, std::shared_ptr<const Program> program, uint64_t function);
  int start(const uint8_t* timer, uint64_t nanoseconds, uint64_t flags,
            const Environment& environment);
  // 1 if it was running, 0 if not.
  int cancel(const uint8_t* timer);

  // When the next one fires, kNever if none is started.
  uint64_t next() const { return due_.empty() ? kNever : due_.begin()->first; }
  // Fires what is due at `now_ns` on CPU `environment.cpu` and leaves the environment's clock
  // there. Gives the instructions that ran.
  uint64_t run_until(uint64_t now_ns, Environment& environment);

 private:
  struct Timer {
    Map* map = nullptr;
    uint8_t* value = nullptr;
    uint8_t* place = nullptr;  // of the bpf_timer
    std::vector<uint8_t> key{};
    std::shared_ptr<const Program> program{};
    uint64_t function = 0;
    uint64_t expires = kNever;
    uint32_t cpu = 0;
  };

  Timer* at(const uint8_t* timer);
  void stop(uint64_t number, Timer& timer);
  void fire(uint64_t number, Timer& timer, Environment& environment, uint64_t& instructions);

  uint64_t last_number_ = 0;
  uint64_t running_ = 0;  // the timer whose callback runs
  std::map<uint64_t, Timer> timers_;
  std::set<std::pair<uint64_t, uint64_t>> due_;  // time and number
  std::unique_ptr<Packet> no_packet_;            // callbacks have none
};

}  // namespace xnic::vm
