#pragma once

#include <cmath>
#include <cstdint>

namespace xnic::nic {

// Simulated time: 64-bit picoseconds from the first packet.
using Picoseconds = uint64_t;

inline constexpr Picoseconds kPicosecondsPerNanosecond = 1000;

// 64 bits of picoseconds wrap after 213 days. Nothing may start in the last ten of them, so that
// sums of a time and a duration never wrap.
inline constexpr Picoseconds kEndOfTime = UINT64_MAX - 864'000ull * 1'000'000'000'000ull;

inline Picoseconds from_nanoseconds(double nanoseconds) {
  return static_cast<Picoseconds>(std::llround(nanoseconds * 1000.0));
}

// How long `bytes` occupy a link of `gbps` (10^9 bits a second).
inline Picoseconds transfer_time(uint64_t bytes, double gbps) {
  return static_cast<Picoseconds>(std::llround(static_cast<double>(bytes) * 8000.0 / gbps));
}

}  // namespace xnic::nic
