#pragma once

#include <string>

#include "sim/kernel_side.h"

// What Linux itself leaves open, so that two kernels may rightly differ in it: time, random
// numbers, flow hashes, the order of a hash, the victims of an LRU. Decided from what a program may
// call, which errs towards excusing: a difference that is excused is still reported, with its
// reason.
namespace xnic::sim {

// Why what `program` does may differ: "bpf_ktime_get_ns reads the clock"; empty if nothing that it
// calls leaves a choice. A program with tail calls may do what any program of its side does.
std::string excuse_for_program(const KernelSide& side, const SideProgram& program);

// Why the contents of `map` may differ: programs that use it and are excused themselves, or
// evictions of an LRU. `entries` is the larger number of entries of the two sides.
std::string excuse_for_map(const KernelSide& side, const SideMap& map, size_t entries);

// Why `program` may find other entries in the LRU maps that it uses: one of them is full enough to
// have evicted. Reads the maps, so ask only where there is a difference. Empty if none is.
std::string excuse_for_evictions(KernelSide& side, const SideProgram& program);

}  // namespace xnic::sim
