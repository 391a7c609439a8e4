#include "nic/rss.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

namespace xnic::nic {
namespace {

using Bytes = std::vector<uint8_t>;

void append(Bytes& bytes, std::initializer_list<int> values) {
  for (const int value : values) bytes.push_back(static_cast<uint8_t>(value));
}

void append_address(Bytes& bytes, int family, const std::string& text) {
  uint8_t address[16];
  ASSERT_EQ(inet_pton(family, text.c_str(), address), 1) << text;
  bytes.insert(bytes.end(), address, address + (family == AF_INET ? 4 : 16));
}

// How the frame around a flow is built.
struct Shape {
  int protocol = 6;
  int fragment_field = 0;
  int vlan_tags = 0;
  bool options = false;
};

Bytes make_frame(int family, const std::string& source, uint16_t source_port,
                 const std::string& destination, uint16_t destination_port, Shape shape = {}) {
  Bytes frame(12, 2);
  for (int i = 0; i < shape.vlan_tags; ++i) {
    if (i + 1 < shape.vlan_tags) {
      append(frame, {0x88, 0xa8, 0, 7});
    } else {
      append(frame, {0x81, 0, 0, 7});
    }
  }
  if (family == AF_INET) {
    append(frame, {8, 0, shape.options ? 0x46 : 0x45, 0, 0, 40, 0, 1, shape.fragment_field >> 8,
                   shape.fragment_field & 255, 64, shape.protocol, 0, 0});
  } else {
    append(frame, {0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, shape.protocol, 64});
  }
  append_address(frame, family, source);
  append_address(frame, family, destination);
  if (shape.options) append(frame, {1, 1, 1, 1});
  append(frame,
         {source_port >> 8, source_port & 255, destination_port >> 8, destination_port & 255});
  frame.resize(frame.size() + 16);
  return frame;
}

// Microsoft, "Verifying the RSS Hash Calculation": source, destination, hashes.
struct Vector {
  int family;
  const char* destination;
  uint16_t destination_port;
  const char* source;
  uint16_t source_port;
  uint32_t addresses_only;
  uint32_t with_ports;
};
const Vector kVectors[] = {
    {AF_INET, "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {AF_INET, "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {AF_INET, "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {AF_INET, "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {AF_INET, "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {AF_INET6, "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {AF_INET6, "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {AF_INET6, "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
     0x4b61e985, 0x02d1feef},
};

RssHash rss_of(const Vector& v, Shape shape = {}) {
  return rss_hash(
      make_frame(v.family, v.source, v.source_port, v.destination, v.destination_port, shape));
}
uint32_t hash_of(const Vector& v, Shape shape = {}) { return rss_of(v, shape).value; }

TEST(Rss, TcpAndUdpHashAsMicrosoftsVectorsWithPorts) {
  for (const Vector& v : kVectors) {
    EXPECT_EQ(hash_of(v), v.with_ports) << v.source;
    EXPECT_EQ(hash_of(v, {.protocol = 17}), v.with_ports) << v.source;
  }
}

TEST(Rss, OtherProtocolsHashAsMicrosoftsVectorsWithoutPorts) {
  for (const Vector& v : kVectors) {
    EXPECT_EQ(hash_of(v, {.protocol = 50}), v.addresses_only) << v.source;
  }
}

TEST(Rss, EveryFragmentOfAPacketHashesWithoutPorts) {
  for (const int field : {0x2000, 0x2010, 0x0010}) {
    EXPECT_EQ(hash_of(kVectors[0], {.fragment_field = field}), kVectors[0].addresses_only) << field;
  }
  EXPECT_EQ(hash_of(kVectors[0], {.fragment_field = 0x4000}), kVectors[0].with_ports);
}

TEST(Rss, VlanTagsAndIpOptionsDoNotChangeTheHash) {
  EXPECT_EQ(hash_of(kVectors[1], {.vlan_tags = 1}), kVectors[1].with_ports);
  EXPECT_EQ(hash_of(kVectors[1], {.vlan_tags = 2}), kVectors[1].with_ports);
  EXPECT_EQ(hash_of(kVectors[5], {.vlan_tags = 2}), kVectors[5].with_ports);
  EXPECT_EQ(hash_of(kVectors[1], {.options = true}), kVectors[1].with_ports);
}

// The hash bit by bit, as the specification has it, of any addresses and ports.
TEST(Rss, IsTheToeplitzHashOfTheTuple) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const bool v6 = i % 2 != 0;
    const size_t addresses = v6 ? 14 + 8 : 14 + 12;
    std::vector<uint8_t> frame(14 + (v6 ? 40 : 20) + 8);
    for (uint8_t& byte : frame) byte = static_cast<uint8_t>(random());
    frame[12] = v6 ? 0x86 : 0x08;
    frame[13] = v6 ? 0xdd : 0x00;
    frame[14] = v6 ? 0x60 : 0x45;
    frame[v6 ? 20 : 23] = 17;
    if (!v6) frame[20] = frame[21] = 0;
    const auto tuple = std::span(frame).subspan(addresses, (v6 ? 32 : 8) + 4);
    EXPECT_EQ(rss_hash(frame).value, toeplitz(kDefaultToeplitzKey, tuple));
  }
}

// The numbers of enum xdp_rss_hash_type of Linux.
TEST(Rss, SaysWhatTheHashCovers) {
  const Vector& v4 = kVectors[0];
  const Vector& v6 = kVectors[5];
  EXPECT_EQ(rss_of(v4).type, 25u);                             // XDP_RSS_TYPE_L4_IPV4_TCP
  EXPECT_EQ(rss_of(v4, {.protocol = 17}).type, 41u);           // XDP_RSS_TYPE_L4_IPV4_UDP
  EXPECT_EQ(rss_of(v4, {.protocol = 50}).type, 1u);            // XDP_RSS_TYPE_L3_IPV4
  EXPECT_EQ(rss_of(v4, {.fragment_field = 0x2000}).type, 1u);  // XDP_RSS_TYPE_L3_IPV4
  EXPECT_EQ(rss_of(v6, {.vlan_tags = 1}).type, 26u);           // XDP_RSS_TYPE_L4_IPV6_TCP
  EXPECT_EQ(rss_of(v6, {.protocol = 17}).type, 42u);           // XDP_RSS_TYPE_L4_IPV6_UDP
  EXPECT_EQ(rss_of(v6, {.protocol = 50}).type, 2u);            // XDP_RSS_TYPE_L3_IPV6
  EXPECT_EQ(rss_hash(Bytes(60, 3)).type, 0u);                  // XDP_RSS_TYPE_NONE
}

TEST(Rss, FramesCutAnywhereHashWithoutReadingPastTheirEnd) {
  for (const Vector& v : kVectors) {
    const Bytes whole = make_frame(v.family, v.source, v.source_port, v.destination,
                                   v.destination_port, {.vlan_tags = 1});
    const size_t addresses_end = whole.size() - 20;
    for (size_t length = 0; length <= whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(length));
      const uint32_t expected = length < addresses_end       ? 0
                                : length < addresses_end + 4 ? v.addresses_only
                                                             : v.with_ports;
      EXPECT_EQ(rss_hash(cut).value, expected) << v.source << " cut to " << length;
    }
  }
}

TEST(Rss, PacketsThatAreNotIpGoToQueueZero) {
  const Rss rss(8);
  Bytes arp(60, 3);
  arp[12] = 8;
  arp[13] = 6;
  vm::Packet packet(arp);
  rss.steer(packet);
  EXPECT_EQ(packet.rx_hash, 0u);
  EXPECT_EQ(packet.rx_queue_index, 0u);
}

TEST(Rss, FlowsKeepTheirQueueAndSpreadOverAllOfThem) {
  const Rss rss(4);
  std::set<uint32_t> seen;
  for (uint16_t port = 1; port < 200; ++port) {
    const Bytes frame = make_frame(AF_INET, "10.0.0.1", port, "10.0.0.2", 80);
    vm::Packet first(frame);
    vm::Packet second(frame);
    rss.steer(first);
    rss.steer(second);
    EXPECT_EQ(first.rx_queue_index, second.rx_queue_index);
    ASSERT_LT(first.rx_queue_index, 4u);
    seen.insert(first.rx_queue_index);
  }
  EXPECT_EQ(seen.size(), 4u);
}

}  // namespace
}  // namespace xnic::nic
