#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "vm/packet.h"

namespace xnic::vm {

class Map;

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

// What a program can ask of the machine that runs it. One for each emulated CPU.
struct Environment {
  uint64_t now_ns = 0;  // bpf_ktime_get_ns: simulated time
  uint32_t cpu = 0;     // bpf_get_smp_processor_id
  Prng prng;
  // Receives each line of bpf_trace_printk, without the newline. May be empty.
  std::function<void(std::string_view)> trace{};
  // Told after each record that a program gave to a ring buffer or perf event array, with this
  // environment as it is then. May be empty.
  std::function<void(Map&, const Environment&)> record{};
};

// What bpf_redirect left behind; read by the hook when the program returns REDIRECT.
struct Redirect {
  uint32_t ifindex = 0;
  uint64_t flags = 0;
  bool set = false;
};

// A bad access at run time: the program ends, the packet is aborted and counted.
struct Fault {
  uint32_t program_id = 0;
  uint32_t instruction = 0;
  std::string message;  // a whole sentence that names program and instruction
};

// One run of a program on one packet: all that the run may touch, and what it leaves.
struct Invocation {
  Packet& packet;
  Environment& environment;
  Redirect redirect{};
  // eBPF instructions executed, ld_imm64 counted once, as every engine counts them.
  uint64_t instructions = 0;
  std::optional<Fault> fault{};
};

}  // namespace xnic::vm
