#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "vm/invocation.h"

namespace xnic::vm {

// What a helper wants in an argument register. Names after the kernel's ARG_* types.
enum class Argument : uint8_t {
  none,
  any,                   // any initialised value
  context,               // the program's context, unmodified
  function,              // a callback: the index of the first instruction of a static function
  map,                   // a map, known when the program is verified
  map_key,               // key_size readable bytes of the map argument
  map_value,             // value_size readable bytes of the map argument
  map_value_out,         // the same, writable; of a bloom filter, which only looks, readable
  memory_read,           // readable bytes; the next argument is their size
  memory_read_or_null,   // the same, or NULL
  memory_write,          // writable bytes; the next argument is their size
  memory_write_or_null,  // the same, or NULL
  size,                  // size of the memory before it, at least 1
  size_or_zero,          // may be 0
  u32_in_out,            // 4 bytes that are read and written, aligned
  u64_out,               // 8 bytes that are written, aligned
  const_string,  // text with its NUL, in a map that is frozen and that programs may only read
  record,        // a ring buffer record of this run, neither submitted nor discarded yet
  spin_lock,     // the bpf_spin_lock of a map value
  timer,         // the bpf_timer of a map value
  bytes_2,       // so many bytes that are read and written, aligned or not: of kfuncs
  bytes_4,
  bytes_8,
  new_iterator,    // 8 bytes of stack that become an iterator
  iterator,        // an iterator that has begun and not ended
  ended_iterator,  // one that ends
};

enum class Returns : uint8_t {
  integer,
  none,
  map_value_or_null,
  record_or_null,        // so many bytes as r2 says
  iterated_int_or_null,  // the iterator's next int, read-only; NULL behind the last
};

using HelperFunction = uint64_t (*)(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// Program types as a set, for the helpers' rows.
inline constexpr uint32_t kXdp = 1;
inline constexpr uint32_t kTc = 2;
inline constexpr uint32_t kSocketFilter = 4;
inline constexpr uint32_t kTracepoint = 8;
inline constexpr uint32_t kAnyType = ~0u;

// One helper: one function and one row, in a file of vm/helpers. Addresses in arguments are host
// addresses that the caller has checked against the argument kinds: by the verifier, or by the
// interpreter before the call. bpf_tail_call has no function: engines perform it.
struct Helper {
  uint32_t id;  // BPF_FUNC_*
  std::string_view name;
  uint32_t program_types;
  Returns returns;
  std::array<Argument, 5> arguments;
  HelperFunction function;
  bool gpl_only = false;
  // Packet pointers that the program holds are void after the call.
  bool changes_packet = false;
};

std::span<const Helper> helpers();
// The row of an id for these program types (bpf_redirect means one thing to XDP, another to tc);
// null where there is none.
const Helper* find_helper(uint32_t id, uint32_t program_types = kAnyType);

// Whether Linux lets a program call the helper on a map of this type; true for a helper that has
// nothing to do with maps.
bool helper_takes_map(uint32_t id, bpf_map_type type);
// Whether the helper changes the map that it is called on, which BPF_F_RDONLY_PROG forbids.
bool helper_writes_map(uint32_t id);

}  // namespace xnic::vm
