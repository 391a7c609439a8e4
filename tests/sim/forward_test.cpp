// Forwarding by the stack, against the real kernel in a namespace of the test's own: what comes in
// at a1 and leaves by b0 and c0, byte for byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "tests/sim/machines.h"
#include "vm/checksum.h"

namespace xnic::sim {
namespace {

constexpr uint8_t kMarker = 0xa5;  // last byte of the frames of this test

struct Fields {
  std::array<uint8_t, 4> to = {10, 9, 0, 5};
  uint8_t ttl = 64;
  uint8_t tos = 0;
  size_t length = 100;  // of the IP packet
  bool bad_checksum = false;
  vm::MacAddress destination = kOfA1;
};

Frame ethernet(const vm::MacAddress& destination, uint8_t type_high, uint8_t type_low) {
  Frame frame(destination.begin(), destination.end());
  frame.insert(frame.end(), {2, 0, 0, 0, 0, 0x77, type_high, type_low});
  return frame;
}

Frame ipv4(const Fields& fields) {
  Frame frame = ethernet(fields.destination, 8, 0);
  const auto length = static_cast<uint16_t>(fields.length);
  const size_t at = frame.size();
  frame.insert(frame.end(),
               {0x45, fields.tos, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length),
                0x12, 0x34, 0x40, 0, fields.ttl, 17, 0, 0, 10, 1, 0, 77});
  frame.insert(frame.end(), fields.to.begin(), fields.to.end());
  const uint16_t check = vm::checksum_of(vm::sum_of({&frame[at], 20}));
  std::memcpy(&frame[at + 10], &check, sizeof check);
  if (fields.bad_checksum) frame[at + 10] ^= 1;
  frame.resize(at + fields.length, 3);
  frame.back() = kMarker;
  return frame;
}

Frame ipv6(const std::string& to, uint8_t hops, size_t payload = 40) {
  Frame frame = ethernet(kOfA1, 0x86, 0xdd);
  frame.insert(frame.end(), {0x60, 0, 0, 0, 0, static_cast<uint8_t>(payload), 59, hops});
  for (const std::string& address : {std::string("2001:db8:1::77"), to}) {
    const auto parsed = vm::IpAddress::parse(address);
    frame.insert(frame.end(), parsed->bytes.begin(), parsed->bytes.end());
  }
  frame.resize(frame.size() + payload, 3);
  frame.back() = kMarker;
  return frame;
}

class Forward : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto up = enter_network(); !up) {
      if (up.error().code == ExitCode::not_available) GTEST_SKIP() << up.error().message;
      FAIL() << up.error().message;
    }
    for (const char* command :
         {"sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.all.accept_dad=0 "
          "net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.a1.rp_filter=0",
          "for i in a1 b0 c0; do sysctl -qw net.ipv6.conf.$i.disable_ipv6=0 "
          "net.ipv6.conf.$i.accept_dad=0 net.ipv4.conf.$i.forwarding=1 "
          "net.ipv6.conf.$i.forwarding=1 || exit 1; done",
          "sysctl -qw net.ipv6.conf.all.forwarding=1",
          "ip addr add 10.1.0.1/24 dev a1 && ip addr add 10.2.0.1/24 dev b0",
          "ip addr add 10.3.0.1/24 dev c0", "ip -6 addr add 2001:db8:1::1/64 dev a1 nodad",
          "ip -6 addr add 2001:db8:2::1/64 dev b0 nodad",
          "ip link set b0 mtu 1300 address 02:00:00:00:00:b0 && ip link set b1 mtu 1500",
          "ip neigh add 10.1.0.77 lladdr 02:00:00:00:00:77 dev a1 nud permanent",
          "ip neigh add 10.2.0.9 lladdr 02:00:00:00:00:b1 dev b0 nud permanent",
          "ip neigh add 10.3.0.7 lladdr 02:00:00:00:03:07 dev c0 nud permanent",
          "ip -6 neigh add 2001:db8:2::9 lladdr 02:00:00:00:00:b1 dev b0 nud permanent",
          "ip route add 10.9.0.0/16 via 10.2.0.9 && ip route add blackhole 10.9.7.0/24",
          "ip route add unreachable 10.9.8.0/24",
          "ip -6 route add 2001:db8:9::/48 via 2001:db8:2::9",
          "ip -6 route add blackhole 2001:db8:9:7::/64"}) {
      ASSERT_EQ(std::system(command), 0) << command;
    }
    const std::string path =
        testing::TempDir() + "xnic-forward-" + std::to_string(getpid()) + ".json";
    const std::string command =
        "{ ip -j -d addr; ip -j route show table all; ip -j -6 route show table all; ip -j neigh; "
        "ip -j netconf; } > " +
        path;
    ASSERT_EQ(std::system(command.c_str()), 0);
    const auto network = read_network({path});
    unlink(path.c_str());
    ASSERT_TRUE(network) << network.error().message;
    const std::string object = std::string(XNIC_OBJECTS) + "/stack.o";
    auto side = KernelSide::real(object);
    ASSERT_TRUE(side) << side.error().message;
    theirs_ = std::make_unique<Linux>(std::move(*side));
    ours_ = std::make_unique<Emulated>(*network, object);
  }

  // What left by `ifindex` after both received the frame: the same, and so many.
  void expect_left(const Frame& frame, uint32_t ifindex, size_t count) {
    std::array<std::vector<Frame>, 2> left;
    for (size_t i = 0; i < 2; ++i) {
      Machine& machine = i == 0 ? static_cast<Machine&>(*ours_) : *theirs_;
      machine.watch(ifindex);
      machine.receive(frame);
      for (Frame& one : machine.left()) {
        if (one.back() == kMarker) left[i].push_back(std::move(one));
      }
    }
    EXPECT_EQ(left[0], left[1]);
    EXPECT_EQ(left[1].size(), count);
  }
  DropReason reason() const { return ours_->sink.packets.at(0).outcome.reason; }

  const PinnedToCpu0 pinned_;
  std::unique_ptr<Emulated> ours_;
  std::unique_ptr<Linux> theirs_;
};

TEST_F(Forward, ARouteLeadsOutByItsNeighbour) {
  expect_left(ipv4({}), b0, 1);
  expect_left(ipv4({.ttl = 2, .tos = 0x10}), b0, 1);
  expect_left(ipv4({.to = {10, 3, 0, 7}}), c0, 1);
  expect_left(ipv4({.to = {10, 9, 200, 1}, .length = 1300}), b0, 1);
  // Checksums that the smaller hop limit carries over.
  for (uint8_t host = 0; host < 20; ++host) {
    expect_left(ipv4({.to = {10, 9, host, 255}, .ttl = static_cast<uint8_t>(3 + host)}), b0,
                host == 7 || host == 8 ? 0 : 1);
  }
}

TEST_F(Forward, WhatHasNoWayIsLost) {
  for (const Fields& fields :
       {Fields{.ttl = 1}, Fields{.to = {10, 9, 7, 1}}, Fields{.to = {10, 9, 8, 1}},
        Fields{.to = {192, 0, 2, 1}}, Fields{.length = 1301}}) {
    expect_left(ipv4(fields), b0, 0);
    EXPECT_EQ(reason(), DropReason::not_forwarded);
  }
}

TEST_F(Forward, WhatIsNotToBeForwardedStays) {
  for (const Fields& fields :
       {Fields{.to = {10, 2, 0, 1}}, Fields{.to = {10, 1, 0, 255}}, Fields{.bad_checksum = true},
        Fields{.destination = {2, 0, 0, 0, 0, 0x55}}}) {
    expect_left(ipv4(fields), b0, 0);
    EXPECT_EQ(ours_->sink.packets.at(0).outcome.end, End::delivered);
  }
}

TEST_F(Forward, Ipv6GoesTheSameWay) {
  // b1 forwards, too: the packet goes round until its hops are used up.
  expect_left(ipv6("2001:db8:9::5", 64), b0, 63);
  expect_left(ipv6("2001:db8:2::9", 2), b0, 1);
  expect_left(ipv6("2001:db8:9::5", 1), b0, 0);
  EXPECT_EQ(reason(), DropReason::not_forwarded);
  expect_left(ipv6("2001:db8:9:7::5", 64), b0, 0);
  expect_left(ipv6("2001:db8:1::1", 64), b0, 0);
  expect_left(ipv6("ff02::1", 64), b0, 0);
}

}  // namespace
}  // namespace xnic::sim
