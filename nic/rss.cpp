// The NIC's parser and receive side scaling (Toeplitz hash, indirection table of 128 entries).
// It looks past up to two VLAN tags. It leaves out IPv6 extension headers (such packets are hashed
// by their addresses, as Windows' "IPv6" hash type does), tunnels, and SCTP.
// Test: tests/nic/rss_test.cpp.
#include "nic/rss.h"

#include <cassert>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace xnic::nic {

constexpr std::array<uint8_t, kToeplitzKeyBytes> kDefaultToeplitzKey = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

uint32_t toeplitz(std::span<const uint8_t, kToeplitzKeyBytes> key, std::span<const uint8_t> input) {
  assert(input.size() + 4 <= kToeplitzKeyBytes);
  uint32_t hash = 0;
  uint32_t window = static_cast<uint32_t>(key[0]) << 24 | static_cast<uint32_t>(key[1]) << 16 |
                    static_cast<uint32_t>(key[2]) << 8 | key[3];
  for (size_t i = 0; i < input.size(); ++i) {
    for (int bit = 7; bit >= 0; --bit) {
      if (input[i] >> bit & 1) hash ^= window;
      window = window << 1 | (key[i + 4] >> bit & 1u);
    }
  }
  return hash;
}

namespace {

constexpr uint32_t kIpv4 = 0x0800;
constexpr uint32_t kIpv6 = 0x86dd;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;

uint32_t load16(std::span<const uint8_t> bytes, size_t offset) {
  return static_cast<uint32_t>(bytes[offset]) << 8 | bytes[offset + 1];
}

bool has_ports(uint8_t protocol) { return protocol == kTcp || protocol == kUdp; }

#if defined(__x86_64__)
// By carry-less multiplication. With 32 bits of input, the first highest, and 63 bits of the key,
// the first lowest, bit 31 + j of the product adds up the input's bits times the key's bits j
// behind them: bit j of the hash, the first highest.
constexpr size_t kMostWords = 9;

// For each 32 bits of the input.
constexpr std::array<uint64_t, kMostWords> kFactors = [] {
  std::array<uint64_t, kMostWords> factors{};
  for (size_t word = 0; word < factors.size(); ++word) {
    for (size_t bit = 0; bit < 63; ++bit) {
      const size_t at = word * 32 + bit;
      factors[word] |= uint64_t{kDefaultToeplitzKey[at / 8] >> (7 - at % 8) & 1u} << bit;
    }
  }
  return factors;
}();

uint32_t reversed(uint32_t bits) {
  bits = (bits & 0x55555555) << 1 | (bits >> 1 & 0x55555555);
  bits = (bits & 0x33333333) << 2 | (bits >> 2 & 0x33333333);
  bits = (bits & 0x0f0f0f0f) << 4 | (bits >> 4 & 0x0f0f0f0f);
  return __builtin_bswap32(bits);
}

template <size_t kBytes>
__attribute__((target("pclmul"))) uint32_t multiply(const uint8_t* addresses,
                                                    const uint8_t* ports) {
  constexpr size_t kWords = kBytes / 4;
  __m128i sum = _mm_setzero_si128();
  for (size_t word = 0; word <= kWords; ++word) {
    const uint8_t* at = word < kWords ? addresses + 4 * word : ports;
    if (at == nullptr) break;
    uint32_t input;
    std::memcpy(&input, at, sizeof input);
    const __m128i factor = _mm_cvtsi64_si128(static_cast<int64_t>(kFactors[word]));
    sum ^= _mm_clmulepi64_si128(_mm_cvtsi32_si128(static_cast<int>(__builtin_bswap32(input))),
                                factor, 0);
  }
  return reversed(static_cast<uint32_t>(static_cast<uint64_t>(_mm_cvtsi128_si64(sum)) >> 31));
}
#endif

// Of `kBytes` of addresses, and four of ports if not null.
template <size_t kBytes>
uint32_t hash_tuple(const uint8_t* addresses, const uint8_t* ports) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("pclmul") != 0) return multiply<kBytes>(addresses, ports);
#endif
  std::array<uint8_t, kBytes + 4> tuple;
  std::memcpy(tuple.data(), addresses, kBytes);
  if (ports != nullptr) std::memcpy(&tuple[kBytes], ports, 4);
  return toeplitz(kDefaultToeplitzKey,
                  std::span(tuple).first(ports != nullptr ? kBytes + 4 : kBytes));
}

// XDP_RSS_* of Linux.
constexpr uint32_t kOfIpv4 = 1;
constexpr uint32_t kOfIpv6 = 2;
constexpr uint32_t kOfPorts = 8;
constexpr uint32_t kOfTcp = 16;
constexpr uint32_t kOfUdp = 32;

uint32_t type_of(uint32_t network, bool ports, uint8_t protocol) {
  return ports ? network | kOfPorts | (protocol == kTcp ? kOfTcp : kOfUdp) : network;
}

RssHash hash_ipv4(std::span<const uint8_t> ip) {
  constexpr uint32_t kMoreFragmentsOrOffset = 0x3fff;
  if (ip.size() < 20 || ip[0] >> 4 != 4) return {};
  const size_t header = (ip[0] & 15u) * 4;
  const bool fragment = (load16(ip, 6) & kMoreFragmentsOrOffset) != 0;
  const bool ports = has_ports(ip[9]) && !fragment && header >= 20 && ip.size() >= header + 4;
  return {hash_tuple<8>(&ip[12], ports ? &ip[header] : nullptr), type_of(kOfIpv4, ports, ip[9])};
}

RssHash hash_ipv6(std::span<const uint8_t> ip) {
  constexpr size_t kHeader = 40;
  if (ip.size() < kHeader || ip[0] >> 4 != 6) return {};
  const bool ports = has_ports(ip[6]) && ip.size() >= kHeader + 4;
  return {hash_tuple<32>(&ip[8], ports ? &ip[kHeader] : nullptr), type_of(kOfIpv6, ports, ip[6])};
}

}  // namespace

RssHash rss_hash(std::span<const uint8_t> frame) {
  size_t offset = 12;
  for (int tags = 0; tags < 2 && frame.size() >= offset + 6; ++tags) {
    const uint32_t type = load16(frame, offset);
    if (type != 0x8100 && type != 0x88a8) break;
    offset += 4;
  }
  if (frame.size() < offset + 2) return {};
  const auto payload = frame.subspan(offset + 2);
  switch (load16(frame, offset)) {
    case kIpv4:
      return hash_ipv4(payload);
    case kIpv6:
      return hash_ipv6(payload);
    default:
      return {};
  }
}

Rss::Rss(uint32_t queues) {
  assert(queues >= 1);
  for (size_t i = 0; i < table_.size(); ++i) table_[i] = static_cast<uint16_t>(i % queues);
}

Rss::Steering Rss::steer(std::span<const uint8_t> frame) const {
  const RssHash hash = rss_hash(frame);
  return {hash, table_[hash.value % table_.size()]};
}

}  // namespace xnic::nic
