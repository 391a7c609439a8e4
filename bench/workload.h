#pragma once

#include <cstdint>
#include <span>
#include <vector>

// What the programs of bench/programs are run on.
namespace xnic::bench {

using Bytes = std::vector<uint8_t>;

// What a map holds, keys and values one behind the other.
struct Contents {
  const char* map;
  uint32_t count;
  Bytes keys{};
  Bytes values{};
};

// An IPv4/UDP frame to port 53 of 10.0.0.2, of so many bytes.
Bytes udp_packet(uint32_t size);

// What the maps of maps.bpf.c hold; the others begin empty.
std::span<const Contents> map_contents();

}  // namespace xnic::bench
