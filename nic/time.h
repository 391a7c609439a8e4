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

// A link that carries so many bits a second.
class LinkRate {
 public:
  explicit LinkRate(double gbps) : gbps_(gbps), byte_ps_(8000.0 / gbps) {}

  double gbps() const { return gbps_; }
  // How long `bytes` occupy it.
  Picoseconds time(uint64_t bytes) const {
    return static_cast<Picoseconds>(
        static_cast<int64_t>(static_cast<double>(static_cast<int64_t>(bytes)) * byte_ps_ + 0.5));
  }

 private:
  double gbps_;
  double byte_ps_;
};

}  // namespace xnic::nic
