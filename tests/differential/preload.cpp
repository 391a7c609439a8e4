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

// Some entries of maps that redirects go through: the loopback device, and CPU 0 with a queue.
void fill_redirects(KernelSide& side) {
  const auto fill = [&](const char* name, uint8_t key, uint8_t value) {
    const SideMap* map = side.map(name);
    if (map == nullptr) return;
    EXPECT_EQ(side.update(*map, {key, 0, 0, 0}, value_of(*map, value)), 0) << name;
  };
  for (const uint8_t key : {uint8_t{0}, uint8_t{2}}) {
    fill("devices", key, 1);
    fill("devices_by_key", key, 1);
  }
  fill("cpus", 0, 64);
}

// Services of a load balancer: every second destination of TCP and UDP over IPv4 up to a number
// that fits for all captures, and four servers on the part of the ring that they share.
void fill_balancer(KernelSide& side, std::span<const Bytes> packets) {
  const SideMap* services = side.map("services");
  const SideMap* ring = side.map("ring");
  const SideMap* servers = side.map("servers");
  if (services == nullptr || ring == nullptr || servers == nullptr) return;
  constexpr size_t kMostServices = 8;
  constexpr uint32_t kSlots = 67;
  std::set<Bytes> keys;
  for (const Bytes& packet : packets) {
    if (keys.size() == kMostServices) break;
    const bool is_ipv4 = packet.size() >= 38 && packet[12] == 8 && packet[13] == 0;
    if (!is_ipv4 || packet[14] != 0x45 || (packet[23] != 6 && packet[23] != 17)) continue;
    Bytes key(packet.begin() + 30, packet.begin() + 34);
    key.insert(key.end(), {packet[36], packet[37], packet[23], 0});
    keys.insert(key);
  }
  fill_every_second(side, services, keys, 0);
  for (uint8_t server = 0; server < 4; ++server) {
    Bytes value(servers->value_size);
    const uint8_t address[] = {10, 200, 0, static_cast<uint8_t>(server + 1)};
    std::copy(std::begin(address), std::end(address), value.begin());
    EXPECT_EQ(side.update(*servers, {server, 0, 0, 0}, value), 0);
  }
  for (uint32_t slot = 0; slot < kSlots; ++slot) {
    const Bytes key = {static_cast<uint8_t>(slot), 0, 0, 0};
    EXPECT_EQ(side.update(*ring, key, value_of(*ring, static_cast<uint8_t>(slot % 4))), 0);
  }
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

  fill_redirects(side);
  fill_balancer(side, packets);

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
