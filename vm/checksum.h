#pragma once

#include <cstdint>
#include <cstring>
#include <span>

// Internet checksums (RFC 1071) and their incremental update (RFC 1624) in the forms that Linux
// gives to programs: unfolded, a one's complement sum of 32 bits over the packet's bytes in host
// order; folded, its complement in 16 bits, as headers carry it. One's complement has two zeros;
// these functions give the one that Linux gives: 0 only where all that is summed is 0.
// Test: tests/vm/checksum_test.cpp, and the kernel comparison.
namespace xnic::vm {

inline uint32_t sum_add(uint32_t sum, uint32_t addend) {
  const uint64_t wide = uint64_t{sum} + addend;
  return static_cast<uint32_t>(wide + (wide >> 32));
}
inline uint32_t sum_subtract(uint32_t sum, uint32_t subtrahend) {
  return sum_add(sum, ~subtrahend);
}

// Adds the bytes, which begin at an even offset; an odd last one counts as if a zero followed.
inline uint32_t sum_of(std::span<const uint8_t> bytes, uint32_t seed = 0) {
  uint64_t sum = seed;
  while (bytes.size() >= sizeof(uint32_t)) {
    uint32_t word;
    std::memcpy(&word, bytes.data(), sizeof word);
    sum += word;
    bytes = bytes.subspan(sizeof word);
  }
  uint32_t last = 0;
  if (!bytes.empty()) std::memcpy(&last, bytes.data(), bytes.size());
  sum += last;
  return sum_add(static_cast<uint32_t>(sum), static_cast<uint32_t>(sum >> 32));
}

// The sum of a block as it counts in the sum of the whole in which it begins at `offset`.
inline uint32_t sum_at(uint32_t sum, uint32_t offset) {
  return offset % 2 == 0 ? sum : sum >> 8 | sum << 24;
}

// A sum in 16 bits, not complemented.
inline uint16_t sum_in_16_bits(uint32_t sum) {
  const uint32_t once = (sum & UINT16_MAX) + (sum >> 16);
  return static_cast<uint16_t>(once + (once >> 16));
}
// What a header carries for this sum, and back.
inline uint16_t checksum_of(uint32_t sum) { return static_cast<uint16_t>(~sum_in_16_bits(sum)); }
inline uint32_t sum_in(uint16_t checksum) { return ~uint32_t{checksum}; }

// A header's checksum after the data changed from `from` to `to`, or by this much (RFC 1624, 3).
inline uint16_t checksum_after(uint16_t checksum, uint32_t from, uint32_t to) {
  return checksum_of(sum_add(sum_subtract(sum_in(checksum), from), to));
}
inline uint16_t checksum_after(uint16_t checksum, uint32_t difference) {
  return checksum_of(sum_add(difference, sum_in(checksum)));
}
// The same in 16 bits, where the two zeros come out otherwise than in 32.
inline uint16_t checksum_after_16_bits(uint16_t checksum, uint16_t from, uint16_t to) {
  const auto add = [](uint16_t a, uint16_t b) {
    const uint32_t wide = uint32_t{a} + b;
    return static_cast<uint16_t>(wide + (wide >> 16));
  };
  const auto before = static_cast<uint16_t>(~checksum);
  return static_cast<uint16_t>(~add(add(before, static_cast<uint16_t>(~from)), to));
}

}  // namespace xnic::vm
