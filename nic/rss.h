#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vm/packet.h"

namespace xnic::nic {

inline constexpr size_t kToeplitzKeyBytes = 40;

// The key of Microsoft's "Verifying the RSS Hash Calculation", which most drivers start with.
extern const std::array<uint8_t, kToeplitzKeyBytes> kDefaultToeplitzKey;

// The Toeplitz hash of at most 36 input bytes.
uint32_t toeplitz(std::span<const uint8_t, kToeplitzKeyBytes> key, std::span<const uint8_t> input);

struct RssHash {
  uint32_t value = 0;
  uint32_t type = 0;  // what it covers, enum xdp_rss_hash_type of Linux
};

// The RSS hash of an Ethernet frame: addresses, and the ports of unfragmented TCP and UDP.
// 0 for anything but IPv4 and IPv6.
RssHash rss_hash(std::span<const uint8_t> frame);

// Parser and receive side scaling: gives each packet its hash and its queue.
class Rss {
 public:
  // `queues` is at least 1; the table of 128 entries spreads them evenly.
  explicit Rss(uint32_t queues);

  struct Steering {
    RssHash hash;
    uint32_t queue = 0;
  };
  Steering steer(std::span<const uint8_t> frame) const;
  // Sets rx_hash, rx_hash_type and rx_queue_index.
  static void apply(const Steering& steering, vm::Packet& packet) {
    packet.rx_hash = steering.hash.value;
    packet.rx_hash_type = steering.hash.type;
    packet.rx_queue_index = steering.queue;
  }
  void steer(vm::Packet& packet) const { apply(steer(packet.linear()), packet); }

 private:
  std::array<uint16_t, 128> table_;
};

}  // namespace xnic::nic
