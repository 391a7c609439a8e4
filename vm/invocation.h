#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vm/isa.h"
#include "vm/map.h"
#include "vm/network.h"
#include "vm/packet.h"

namespace xnic::vm {

class Program;
class Timers;

// A small seeded generator (xorshift64*), the source of bpf_get_prandom_u32.
class Prng {
 public:
  explicit Prng(uint64_t seed = 0) : state_(seed * 0x9e3779b97f4a7c15ull + 0x2545f4914f6cdd1dull) {
    if (state_ == 0) state_ = 1;
  }
  uint32_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>((state_ * 0x2545f4914f6cdd1dull) >> 32);
  }

 private:
  uint64_t state_;
};

struct Redirect;
struct Fault;

// What a program can ask of the machine that runs it. One for each emulated CPU.
struct Environment {
  uint64_t now_ns = 0;  // bpf_ktime_get_ns: simulated time
  uint32_t cpu = 0;     // bpf_get_smp_processor_id
  Prng prng;
  bool counts_runs = false;  // BPF_ENABLE_STATS: programs count their runs and the time they take
  // What fib_lookup, check_mtu and their like ask. Never null; must outlive the environment.
  const Network* network = &default_network();
  // Where bpf_timer_start puts its timers. Null for a machine that has none, as an offload engine.
  Timers* timers = nullptr;
  // Receives each line of bpf_trace_printk, without the newline. May be empty.
  std::function<void(std::string_view)> trace{};
  // Told after each record that a program gave to a ring buffer or perf event array, with this
  // environment as it is then. May be empty.
  std::function<void(Map&, const Environment&)> record{};
  // Told of a fault where no hook runs: in a timer's callback, in the program of a devmap or cpumap
  // entry. May be empty.
  std::function<void(const Fault&)> fault{};
};

// What the last bpf_redirect* left behind; read by the hook when the program returns REDIRECT.
struct Redirect {
  enum class Kind : uint8_t {
    none,
    interface,  // ifindex; flags: BPF_F_INGRESS
    neighbour,  // ifindex, next_hop
    peer,       // of ifindex
    map,        // entry, or with BPF_F_BROADCAST in flags all that are in map
  };
  Kind kind = Kind::none;
  uint32_t ifindex = 0;
  uint64_t flags = 0;
  Map* map = nullptr;
  uint32_t key = 0;  // of the entry
  RedirectEntry entry{};
  std::optional<bpf_redir_neigh> next_hop{};  // none: as the routes have it
};

// A copy of the packet that bpf_clone_redirect sends at once, while the program goes on.
struct Clone {
  std::unique_ptr<Packet> packet;
  Redirect to;
};

// A bad access at run time: the program ends, the packet is aborted and counted.
struct Fault {
  uint32_t program_id = 0;
  uint32_t instruction = 0;
  std::string message;  // a whole sentence that names program and instruction
};

// Runs a function of the program that called a helper, on behalf of that helper. An engine's.
class Callbacks {
 public:
  virtual ~Callbacks() = default;
  // `function` is the index of its first instruction, r1 to r5 its arguments. Gives r0. After a
  // fault in the function the invocation's `fault` is set and the helper has to return at once.
  virtual uint64_t call(uint64_t function, const std::array<uint64_t, 5>& arguments) = 0;
  // Opens the value of a map to the program, as a lookup does.
  virtual void grant_value(const Map& map, const uint8_t* value) = 0;
  // Lends memory to the function for reading; taken back in the opposite order.
  virtual void lend(const uint8_t* start, uint64_t size) = 0;
  virtual void take_back() = 0;
  // The program that called the helper.
  virtual const Program& program() const = 0;
};

// One run of a program on one packet: all that the run may touch, and what it leaves.
struct Invocation {
  // Not an aggregate, of which compilers would clear all bytes first.
  Invocation(Packet& on, Environment& machine) : packet(on), environment(machine) {}

  // Lets another program run on the packet. Clones stay.
  void begin_again() {
    redirect = {};
    instructions = 0;
    cost = 0;
    fault.reset();
    held_lock = 0;
    tail_calls_left = kMaxTailCalls;
  }

  Packet& packet;
  Environment& environment;
  Redirect redirect{};
  std::vector<Clone> clones{};  // made by bpf_clone_redirect, to be sent when the hook has run
  // eBPF instructions executed, ld_imm64 counted once, as every engine counts them.
  uint64_t instructions = 0;
  uint64_t cost = 0;  // what they took on the core that Program::costs() is of
  std::optional<Fault> fault{};
  uint64_t held_lock = 0;  // address of the bpf_spin_lock that the program holds, 0 for none
  uint32_t tail_calls_left = kMaxTailCalls;  // of machine code
  // Set while an engine is in a helper that takes a callback.
  Callbacks* callbacks = nullptr;
};

}  // namespace xnic::vm
