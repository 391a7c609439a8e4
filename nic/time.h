#pragma once

#include <cmath>
#include <cstdint>

#include "traces/clock.h"

namespace xnic::nic {

// Simulated time: 64-bit picoseconds from the first packet.
using Picoseconds = uint64_t;

inline constexpr Picoseconds kPicosecondsPerNanosecond = 1000;

using traces::kEndOfTime;

inline Picoseconds from_nanoseconds(double nanoseconds) {
  return static_cast<Picoseconds>(std::llround(nanoseconds * 1000.0));
}

// How long `bytes` occupy a link of `gbps` (10^9 bits a second).
inline Picoseconds transfer_time(uint64_t bytes, double gbps) {
  return static_cast<Picoseconds>(std::llround(static_cast<double>(bytes) * 8000.0 / gbps));
}

}  // namespace xnic::nic
