#pragma once

#include <linux/bpf.h>

#include <cstdint>

#include "vm/map.h"

namespace xnic::vm {

// Limits of the kernel (x86-64, 4 KiB pages) that show in what BPF_MAP_CREATE answers.
inline constexpr uint64_t kKmallocMax = 4ull << 20;       // KMALLOC_MAX_SIZE
inline constexpr uint64_t kPercpuValueMax = 32ull << 10;  // PCPU_MIN_UNIT_SIZE

inline constexpr uint32_t kAccessFlags =
    BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;

// What every type asks of a spec: no flag beyond `allowed`, a map that can be read or written
// from each side, no map_extra (only bloom filters and arenas have a use for it).
inline bool flags_valid(const MapSpec& spec, uint32_t allowed) {
  const auto both = [&](uint32_t flags) { return (spec.flags & flags) == flags; };
  return (spec.flags & ~allowed) == 0 && !both(BPF_F_RDONLY | BPF_F_WRONLY) &&
         !both(BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG) && spec.map_extra == 0;
}

}  // namespace xnic::vm
