#pragma once

#include <cstdint>

#include "vm/invocation.h"

namespace xnic::vm {

// Helpers that call a function of the program; rows in vm/helpers.cpp. Test: tests/bpf/callbacks,
// compared with Linux by tests/differential.

// bpf_loop(count, function, context, flags): calls function(index, context) until it returns 1.
// Gives the number of calls, -EINVAL for flags, -E2BIG above kMaxLoops.
uint64_t loop(Invocation& run, uint64_t count, uint64_t function, uint64_t context, uint64_t flags,
              uint64_t);

// bpf_for_each_map_elem(map, function, context, flags): calls function(map, key, value, context)
// for each entry, in the map's own order, until it returns 1. Gives the number of calls, -EINVAL
// for flags. Entries that the function adds are not visited, those that it deletes before their
// turn are left out: Linux leaves the one open and does the other.
uint64_t for_each_map_elem(Invocation& run, uint64_t map, uint64_t function, uint64_t context,
                           uint64_t flags, uint64_t);

}  // namespace xnic::vm
