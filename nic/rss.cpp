// The NIC's parser and receive side scaling (Toeplitz hash, indirection table of 128 entries).
// It looks past up to two VLAN tags. It leaves out IPv6 extension headers (such packets are hashed
// by their addresses, as Windows' "IPv6" hash type does), tunnels, and SCTP.
// Test: tests/nic/rss_test.cpp.
#include "nic/rss.h"

#include <algorithm>
#include <cassert>

namespace xnic::nic {

const std::array<uint8_t, kToeplitzKeyBytes> kDefaultToeplitzKey = {
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

// What each value of each input byte adds to the hash under the default key: the hash is linear.
class HashTables {
 public:
  HashTables() {
    std::array<uint8_t, kInputBytes> input{};
    for (size_t at = 0; at < kInputBytes; ++at) {
      for (uint32_t value = 0; value < 256; ++value) {
        input[at] = static_cast<uint8_t>(value);
        of_[at][value] = toeplitz(kDefaultToeplitzKey, input);
      }
      input[at] = 0;
    }
  }

  // Of `addresses`, and the four bytes of ports where there are any.
  template <size_t kBytes>
  uint32_t hash(std::span<const uint8_t, kBytes> addresses, std::span<const uint8_t> ports) const {
    uint32_t hash = 0;
    for (size_t at = 0; at < kBytes; ++at) hash ^= of_[at][addresses[at]];
    for (size_t at = 0; at < ports.size(); ++at) hash ^= of_[kBytes + at][ports[at]];
    return hash;
  }

 private:
  static constexpr size_t kInputBytes = 36;
  std::array<std::array<uint32_t, 256>, kInputBytes> of_;
};

template <size_t kBytes>
uint32_t hash_tuple(std::span<const uint8_t, kBytes> addresses, std::span<const uint8_t> ports) {
  static const HashTables kTables;
  return kTables.hash(addresses, ports);
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
  return {
      hash_tuple(ip.subspan<12, 8>(), ports ? ip.subspan(header, 4) : std::span<const uint8_t>()),
      type_of(kOfIpv4, ports, ip[9])};
}

RssHash hash_ipv6(std::span<const uint8_t> ip) {
  constexpr size_t kHeader = 40;
  if (ip.size() < kHeader || ip[0] >> 4 != 6) return {};
  const bool ports = has_ports(ip[6]) && ip.size() >= kHeader + 4;
  return {
      hash_tuple(ip.subspan<8, 32>(), ports ? ip.subspan(kHeader, 4) : std::span<const uint8_t>()),
      type_of(kOfIpv6, ports, ip[6])};
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

void Rss::steer(vm::Packet& packet) const {
  const RssHash hash = rss_hash(packet.linear());
  packet.rx_hash = hash.value;
  packet.rx_hash_type = hash.type;
  packet.rx_queue_index = table_[packet.rx_hash % table_.size()];
}

}  // namespace xnic::nic
