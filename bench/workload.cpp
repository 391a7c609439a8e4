#include "bench/workload.h"

namespace xnic::bench {
namespace {

constexpr uint32_t kDestination = 0x0200000a;  // 10.0.0.2, network byte order
constexpr uint16_t kPort = 0x3500;             // 53, likewise

template <class Key, class Value>
void add(Contents& contents, const Key& key, const Value& value) {
  const auto append = [](Bytes& to, const auto& object) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&object);
    to.insert(to.end(), bytes, bytes + sizeof(object));
  };
  append(contents.keys, key);
  append(contents.values, value);
}

Contents hashed(const char* map, uint32_t count) {
  Contents contents{map, count};
  for (uint32_t i = 0; i < count; ++i) add(contents, i * 2654435761u, uint64_t{i});
  return contents;
}

// Prefixes of 8 to 28 bits all over the address space.
Contents prefixes(const char* map, uint32_t count) {
  struct Prefix {
    uint32_t length;
    uint32_t address;
  };
  Contents contents{map, count};
  uint32_t random = 1;
  for (uint32_t i = 0; i < count; ++i) {
    random = random * 1664525 + 1013904223;
    const uint32_t length = 8 + (random >> 8) % 21;
    random = random * 1664525 + 1013904223;
    const uint32_t address = random & ~(UINT32_MAX >> length);
    add(contents, Prefix{length, __builtin_bswap32(address)}, uint64_t{i});
  }
  return contents;
}

}  // namespace

Bytes udp_packet(uint32_t size) {
  Bytes packet = {2, 0,  0,  0, 0, 2,  2, 0, 0, 0,  0, 1, 8, 0, 0x45, 0, 0,  0, 0, 1, 0,
                  0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0,    0, 53, 0, 0, 0, 0};
  packet.resize(size);
  const uint32_t length = size - 14;
  packet[16] = static_cast<uint8_t>(length >> 8);
  packet[17] = static_cast<uint8_t>(length);
  for (uint32_t i = 42; i < size; ++i) packet[i] = static_cast<uint8_t>(i * 7);
  return packet;
}

std::span<const Contents> map_contents() {
  static const std::vector<Contents> kContents = [] {
    std::vector<Contents> all = {hashed("hash_1k", 1024), hashed("hash_1m", 1u << 20),
                                 prefixes("lpm_1k", 1000), prefixes("lpm_100k", 100'000)};
    Contents services{"services", 1};
    add(services, kDestination | uint64_t{kPort} << 32, uint32_t{3});
    all.push_back(std::move(services));
    return all;
  }();
  return kContents;
}

}  // namespace xnic::bench
