// Helpers that call a function of the program.
// Test: tests/bpf/callbacks, compared with Linux by tests/differential.
#include <array>
#include <bit>
#include <cerrno>
#include <vector>

#include "vm/helpers/rows.h"
#include "vm/isa.h"
#include "vm/map.h"

namespace xnic::vm {
namespace {

// All keys in the map's order, one after another.
std::vector<uint8_t> keys_of(Map& map) {
  const size_t size = map.spec().key_size;
  std::vector<uint8_t> keys;
  std::vector<uint8_t> next(size);
  const uint8_t* last = nullptr;
  while (keys.size() < size * map.spec().max_entries && map.next_key(last, next.data()) == 0) {
    keys.insert(keys.end(), next.begin(), next.end());
    last = keys.data() + keys.size() - size;
  }
  return keys;
}

// bpf_loop(count, function, context, flags): calls function(index, context) until it returns 1.
// Gives the number of calls, -EINVAL for flags, -E2BIG above kMaxLoops.
uint64_t loop(Invocation& run, uint64_t count, uint64_t function, uint64_t context, uint64_t flags,
              uint64_t) {
  if (flags != 0) return result(-EINVAL);
  const auto calls = static_cast<uint32_t>(count);
  // Linux writes such a call out in place, and there the error has 32 bits.
  if (calls > kMaxLoops) return static_cast<uint32_t>(-E2BIG);
  for (uint32_t i = 0; i < calls; ++i) {
    const uint64_t answer = run.callbacks->call(function, {i, context, 0, 0, 0});
    if (run.fault) return 0;
    if (answer != 0) return i + 1;
  }
  return calls;
}

// bpf_for_each_map_elem(map, function, context, flags): calls function(map, key, value, context)
// for each entry, in the map's own order, until it returns 1. Gives the number of calls, -EINVAL
// for flags. Entries that the function adds are not visited, those that it deletes before their
// turn are left out: Linux leaves the one open and does the other.
uint64_t for_each_map_elem(Invocation& run, uint64_t map, uint64_t function, uint64_t context,
                           uint64_t flags, uint64_t) {
  if (flags != 0) return result(-EINVAL);
  Map& entries = map_at(map);
  const size_t key_size = entries.spec().key_size;
  const std::vector<uint8_t> keys = keys_of(entries);
  uint64_t calls = 0;
  for (size_t at = 0; at + key_size <= keys.size(); at += key_size) {
    const uint8_t* key = keys.data() + at;
    uint8_t* value = entries.lookup(key, run.environment.cpu);
    if (value == nullptr) continue;
    run.callbacks->grant_value(entries, value);
    run.callbacks->lend(key, key_size);
    const uint64_t answer = run.callbacks->call(
        function, {map, std::bit_cast<uint64_t>(key), std::bit_cast<uint64_t>(value), context, 0});
    run.callbacks->take_back();
    if (run.fault) return 0;
    ++calls;
    if (answer != 0) break;
  }
  return calls;
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(for_each_map_elem, kAnyType, R::integer, {A::map, A::function, A::any, A::any},
                for_each_map_elem),
    XNIC_HELPER(loop, kAnyType, R::integer, {A::any, A::function, A::any, A::any}, loop),
};

}  // namespace

std::span<const Helper> callback_helpers() { return kRows; }

}  // namespace xnic::vm
