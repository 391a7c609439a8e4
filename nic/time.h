#pragma once

#include <array>
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

// Of less than 2^63, which converts faster.
inline double to_double(Picoseconds time) {
  return static_cast<double>(static_cast<int64_t>(time));
}

// A link that carries so many bits a second.
class LinkRate {
 public:
  explicit LinkRate(double gbps) : gbps_(gbps), byte_ps_(8000.0 / gbps) {
    for (size_t bytes = 0; bytes < times_.size(); ++bytes) times_[bytes] = computed(bytes);
  }

  double gbps() const { return gbps_; }
  // How long `bytes` occupy it.
  Picoseconds time(uint64_t bytes) const {
    return bytes < times_.size() ? times_[bytes] : computed(bytes);
  }

 private:
  Picoseconds computed(uint64_t bytes) const {
    return static_cast<Picoseconds>(std::llround(static_cast<double>(bytes) * byte_ps_));
  }

  double gbps_;
  double byte_ps_;
  std::array<Picoseconds, 2048> times_;  // of what most frames and transfers have, by bytes
};

}  // namespace xnic::nic
