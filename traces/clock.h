#pragma once

#include <cstdint>

namespace xnic::traces {

// Simulated time is 64 bits of picoseconds from the first packet and would wrap after 213 days.
// Nothing may start in the last ten of them, so that sums of a time and a duration never wrap.
inline constexpr uint64_t kEndOfTime = UINT64_MAX - 864'000ull * 1'000'000'000'000ull;

}  // namespace xnic::traces
