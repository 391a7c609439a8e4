#include "tests/differential/preload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

namespace xnic::test {
namespace {

using sim::Bytes;
using sim::KernelSide;
using sim::SideMap;
using sim::SideProgram;

// Every bit that xdp-filter knows: match as source and destination, TCP and UDP, allow and deny.
constexpr uint8_t kAllFlags = 0x3f;

// What stands at `offset` of those packets that have this ethertype, each once.
std::set<Bytes> fields(std::span<const Bytes> packets, int ethertype, size_t offset, size_t size) {
  std::set<Bytes> found;
  for (const Bytes& packet : packets) {
    if (packet.size() < offset + size || packet.size() < 14) continue;
    if (ethertype != 0 && (packet[12] << 8 | packet[13]) != ethertype) continue;
    const auto at = packet.begin() + static_cast<ptrdiff_t>(offset);
    found.insert(Bytes(at, at + static_cast<ptrdiff_t>(size)));
  }
  return found;
}

// Every second one, so that packets are met by the rule and missed.
Bytes value_of(const SideMap& map, uint8_t first) {
  Bytes value(map.value_size);
  const uint32_t step = map.per_cpu ? map.value_size / sim::real_possible_cpus() : map.value_size;
  for (uint32_t at = 0; at < value.size(); at += step) value[at] = first;
  return value;
}

void fill_every_second(KernelSide& side, const SideMap* map, const std::set<Bytes>& keys,
                       uint8_t first) {
  if (map == nullptr) return;
  bool wanted = true;
  for (const Bytes& key : keys) {
    if (wanted) {
      ASSERT_EQ(key.size(), map->key_size);
      EXPECT_EQ(side.update(*map, key, value_of(*map, first)), 0) << map->name;
    }
    wanted = !wanted;
  }
}

std::set<Bytes> ports_as_keys(std::span<const Bytes> packets) {
  std::set<Bytes> keys;
  for (const Bytes& port : fields(packets, 0x0800, 36, 2)) {
    keys.insert({port[0], port[1], 0, 0});  // xdp-filter indexes with the port in network order
  }
  return keys;
}

// Prefixes of these lengths over the addresses.
std::set<Bytes> networks(const std::set<Bytes>& addresses, uint8_t bits) {
  std::set<Bytes> keys;
  for (const Bytes& address : addresses) {
    Bytes key = {bits, 0, 0, 0};
    key.insert(key.end(), address.begin(), address.end());
    keys.insert(key);
  }
  return keys;
}

}  // namespace

void preload(KernelSide& side, std::span<const Bytes> packets) {
  const auto ipv4 = fields(packets, 0x0800, 26, 4);
  const auto ipv6 = fields(packets, 0x86dd, 22, 16);
  fill_every_second(side, side.map("blocked_addresses"), ipv4, 0);
  fill_every_second(side, side.map("blocked_networks"), networks(ipv4, 31), 0);
  fill_every_second(side, side.map("blocked_networks_v6"), networks(ipv6, 127), 0);
  fill_every_second(side, side.map("filter_ipv4"), ipv4, kAllFlags);
  fill_every_second(side, side.map("filter_ipv6"), ipv6, kAllFlags);
  fill_every_second(side, side.map("filter_ports"), ports_as_keys(packets), kAllFlags);
  fill_every_second(side, side.map("filter_ethernet"), fields(packets, 0, 6, 6), kAllFlags);

  const SideMap* slots = side.map("programs");
  if (slots == nullptr || slots->type != BPF_MAP_TYPE_PROG_ARRAY) return;
  uint8_t slot = 0;
  for (const char* name : {"leaf_drop", "leaf_tx", "chain"}) {
    const SideProgram* program = side.program(name);
    ASSERT_NE(program, nullptr) << name;
    Bytes fd(4);
    std::memcpy(fd.data(), &program->fd, sizeof program->fd);
    EXPECT_EQ(side.update(*slots, {slot++, 0, 0, 0}, fd), 0) << name;
  }
}

}  // namespace xnic::test
