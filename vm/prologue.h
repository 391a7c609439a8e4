#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "vm/map.h"

namespace xnic::vm {

struct Environment;
class Engine;
class Packet;
class Program;

// What a program does up to its first lookup in a map that does not fit the CPU's caches, as a
// program of its own that looks nothing up there but starts fetching the place. It changes nothing
// that anyone can see, so it may run ahead for packets that wait, and the program itself then finds
// the place in the cache. Where it guesses wrong, only time is lost.
class Prologue {
 public:
  // A map of fewer bytes is in the cache anyway.
  static constexpr uint64_t kCachedBytes = 256 * 1024;

  // Null where there is no such lookup near the program's beginning: in front of it may stand
  // what reads the packet, computes and branches forward. What writes elsewhere than to the
  // stack is left out; at anything else the prologue gives up. Needs the verifier's proof.
  static std::shared_ptr<const Prologue> of(const Program& program, Engine& engine,
                                            uint32_t possible_cpus,
                                            uint64_t cached_bytes = kCachedBytes);

  // Starts fetching the bucket. Gives what fetch_entry() is to go on with, 0 for nothing.
  uint64_t fetch_bucket(Packet& packet, Environment& environment) const;
  // Once the bucket may be there, starts fetching what it leads to.
  void fetch_entry(uint64_t handle) const;

 private:
  Prologue() = default;

  std::shared_ptr<Program> program_;
  std::vector<DirectLookup> maps_;  // by the low bits of a handle
};

}  // namespace xnic::vm
