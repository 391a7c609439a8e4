// The packet buffer: against what Linux 6.18 was measured to do, and where this process may ask it,
// against the running kernel through BPF_PROG_TEST_RUN.
#include "vm/packet.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <random>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"

namespace xnic::vm {
namespace {

using test::Bytes;
using test::Instructions;

Bytes counting_bytes(size_t size) {
  Bytes bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  return bytes;
}

TEST(Packet, MovesTheHeadOfA64ByteFrameFrom216BytesForwardTo50Back) {
  for (int delta = -300; delta <= 100; ++delta) {
    Packet packet(counting_bytes(64));
    const bool fits = delta >= -216 && delta <= 50;
    EXPECT_EQ(packet.adjust_head(delta), fits ? 0 : -EINVAL) << delta;
    EXPECT_EQ(packet.length(), fits ? 64u - static_cast<uint32_t>(delta) : 64u) << delta;
  }
}

TEST(Packet, MovesTheTailOfA64ByteFrameFrom50BytesBackTo3456Forward) {
  for (int delta = -100; delta <= 3600; ++delta) {
    Packet packet(counting_bytes(64));
    const bool fits = delta >= -50 && delta <= 3456;
    EXPECT_EQ(packet.adjust_tail(delta), fits ? 0 : -EINVAL) << delta;
    EXPECT_EQ(packet.length(), fits ? 64u + static_cast<uint32_t>(delta) : 64u) << delta;
  }
}

TEST(Packet, IsInBorrowedMemoryWhatItIsInItsOwn) {
  std::mt19937 random(7);
  const auto number = [&](int from, int to) {
    return std::uniform_int_distribution<int>(from, to)(random);
  };
  std::vector<uint8_t> memory(kFrameSize);
  Packet borrowed;
  Packet owned;
  for (int round = 0; round < 2000; ++round) {
    const Bytes frame = counting_bytes(static_cast<size_t>(number(14, 5000)));
    const auto linear = std::min<uint32_t>(kLinearSize, static_cast<uint32_t>(frame.size()));
    std::copy_n(frame.begin(), linear, memory.begin() + kHeadroom);
    borrowed.borrow(memory.data(), linear, std::span(frame).subspan(linear));
    owned.assign(frame);
    for (Packet* packet : {&borrowed, &owned}) {
      std::fill_n(packet->hard_start(), kHeadroom, uint8_t{0});
    }
    ASSERT_TRUE(borrowed.borrows());
    ASSERT_FALSE(owned.borrows());
    for (int step = 0; step < 8; ++step) {
      const int delta = number(-300, 300);
      switch (number(0, 5)) {
        case 0:
          ASSERT_EQ(borrowed.adjust_head(delta), owned.adjust_head(delta));
          // What stood in the headroom is left over from before.
          for (Packet* packet : {&borrowed, &owned}) {
            std::fill_n(packet->data(), std::min(packet->linear_length(), 14u), uint8_t{0x55});
            std::fill_n(packet->hard_start(),
                        packet->data() - packet->hard_start() - packet->metadata_length(),
                        uint8_t{0});
          }
          break;
        case 1:
          ASSERT_EQ(borrowed.adjust_meta(delta), owned.adjust_meta(delta));
          break;
        case 2:
          ASSERT_EQ(borrowed.adjust_tail(delta), owned.adjust_tail(delta));
          break;
        case 3: {
          const auto length = static_cast<uint32_t>(number(1, 5000));
          ASSERT_EQ(borrowed.ensure_linear(length), owned.ensure_linear(length));
          break;
        }
        case 4: {
          // What an sk_buff may do, once it has the room.
          const auto count = static_cast<uint32_t>(number(0, 400));
          borrowed.ensure_headroom(count);
          owned.ensure_headroom(count);
          break;
        }
        default: {
          Packet copy;
          copy.copy(borrowed);
          ASSERT_FALSE(copy.borrows());
          ASSERT_EQ(copy.bytes(), owned.bytes());
        }
      }
      ASSERT_EQ(borrowed.bytes(), owned.bytes());
      ASSERT_EQ(borrowed.metadata_length(), owned.metadata_length());
      ASSERT_EQ(borrowed.buffer_size(), owned.buffer_size());
    }
  }
}

TEST(Packet, TakesMetadataInWordsUpTo216Bytes) {
  for (int delta = -300; delta <= 8; ++delta) {
    Packet packet(counting_bytes(64));
    const bool in_range = delta >= -216 && delta <= 0;
    const int expected = !in_range ? -EINVAL : delta % 4 != 0 ? -EACCES : 0;
    EXPECT_EQ(packet.adjust_meta(delta), expected) << delta;
    EXPECT_EQ(packet.metadata_length(), expected == 0 ? static_cast<uint32_t>(-delta) : 0) << delta;
  }
}

TEST(Packet, ShowsZerosInTheBytesThatAGrowingTailUncovers) {
  Packet packet(Bytes(64, 0xff));
  ASSERT_EQ(packet.adjust_tail(-40), 0);
  ASSERT_EQ(packet.adjust_tail(100), 0);
  const Bytes bytes = packet.bytes();
  ASSERT_EQ(bytes.size(), 124u);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], i < 24 ? 0xff : 0) << i;
}

TEST(Packet, KeepsBytesPastTheLinearAreaInFragments) {
  for (const size_t size : {3519u, 3520u, 3521u, 9000u}) {
    const Bytes frame = counting_bytes(size);
    const Packet packet(frame);
    EXPECT_EQ(packet.linear_length(), std::min<size_t>(size, 3520));
    EXPECT_EQ(packet.length(), size);
    EXPECT_EQ(packet.bytes(), frame);
  }
}

// Whatever a packet was, the next frame in it finds every field zero.
TEST(Packet, StartsOverAsAFreshOne) {
  const Bytes tagged = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81, 0, 0x20, 7, 8, 0, 9, 9, 9, 9};
  const Bytes next = counting_bytes(60);
  Bytes memory(kFrameSize);
  for (const bool borrows : {false, true}) {
    for (const bool copied : {false, true}) {
      Packet first(tagged);
      first.rx_timestamp_ns = 5;
      first.rx_vlan = VlanTag{.protocol = 1, .tci = 2};
      first.rx_hash = first.rx_hash_type = first.rx_queue_index = first.ingress_ifindex = 7;
      first.classify_ethernet(std::array<uint8_t, 6>{});
      first.receive();
      ASSERT_TRUE(first.skb.vlan_present);
      first.skb.mark = 9;
      first.skb.cb[4] = 9;
      first.skb.tunnel.options = {1, 2, 3};
      first.skb.checksum_level = 3;
      first.skb.checksum = 9;
      Packet clone;
      clone.copy(first);
      Packet& packet = copied ? clone : first;
      if (borrows) {
        packet.borrow(memory.data(), 60);
      } else {
        packet.assign(next);
      }
      const Packet fresh(next);
      EXPECT_EQ(packet.skb.mark, 0u);
      EXPECT_EQ(packet.skb.cb[4], 0u);
      EXPECT_EQ(packet.skb.protocol, 0u);
      EXPECT_EQ(packet.skb.pkt_type, 0u);
      EXPECT_EQ(packet.skb.checksum, 0u);
      EXPECT_EQ(packet.skb.checksum_level, 0u);
      EXPECT_FALSE(packet.skb.vlan_present);
      EXPECT_FALSE(packet.skb.at_ingress);
      EXPECT_TRUE(packet.skb.tunnel.options.empty());
      EXPECT_FALSE(packet.rx_timestamp_ns);
      EXPECT_FALSE(packet.rx_vlan);
      EXPECT_EQ(packet.rx_hash, 0u);
      EXPECT_EQ(packet.rx_hash_type, 0u);
      EXPECT_EQ(packet.rx_queue_index, 0u);
      EXPECT_EQ(packet.ingress_ifindex, 0u);
      EXPECT_EQ(packet.headers.mac, fresh.headers.mac);
      EXPECT_EQ(packet.headers.network, fresh.headers.network);
      EXPECT_EQ(packet.headers.transport, fresh.headers.transport);
      EXPECT_EQ(packet.length(), 60u);
    }
  }
}

TEST(Packet, MovesMetadataAlongWithTheHead) {
  Packet packet(counting_bytes(64));
  ASSERT_EQ(packet.adjust_meta(-8), 0);
  std::memcpy(packet.data_meta(), "metadata", 8);
  ASSERT_EQ(packet.adjust_head(-20), 0);
  EXPECT_EQ(std::memcmp(packet.data_meta(), "metadata", 8), 0);
  EXPECT_EQ(packet.data_meta() + 8, packet.data());
  EXPECT_EQ(packet.adjust_head(-189), -EINVAL) << "20 + 8 + 189 is more than the 216 there are";
  EXPECT_EQ(packet.adjust_head(-188), 0);
}

TEST(Packet, ClassifiesByDestinationAndEthertypeAsEthernetReceiveDoes) {
  struct Case {
    std::array<uint8_t, 16> frame;
    uint32_t type;  // linux/if_packet.h
    uint16_t protocol;
  };
  const std::array<uint8_t, 6> device = {2, 0, 0, 0, 0, 1};
  const Case cases[] = {
      {{2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x08, 0x00}, 0, 0x0800},
      {{255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0x08, 0x06}, 1, 0x0806},
      {{1, 0, 0x5e, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x08, 0x00}, 2, 0x0800},
      {{2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x86, 0xdd}, 3, 0x86dd},
      {{2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x00, 0x26, 0x42, 0x42}, 0, 0x0004},  // 802.2
      {{2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x00, 0x26, 0xff, 0xff}, 0, 0x0001},  // raw 802.3
      {{2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x05, 0xff}, 0, 0x0004},
      {{2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x06, 0x00}, 0, 0x0600},
  };
  for (const Case& c : cases) {
    Packet packet(c.frame);
    packet.classify_ethernet(device);
    EXPECT_EQ(packet.skb.pkt_type, c.type);
    EXPECT_EQ(__builtin_bswap16(packet.skb.protocol), c.protocol);
  }
}

TEST(Packet, TakesAVlanTagOutOfTheBytesAndPutsItBack) {
  Bytes frame = counting_bytes(64);
  const std::array<uint8_t, 6> tag = {0x81, 0x00, 0x20, 0x64, 0x08, 0x00};  // priority 1, VLAN 100
  std::copy(tag.begin(), tag.end(), frame.begin() + 12);
  Packet packet(frame);
  packet.untag_vlan();
  EXPECT_TRUE(packet.skb.vlan_present);
  EXPECT_EQ(packet.skb.vlan_tci, 0x2064);
  EXPECT_EQ(__builtin_bswap16(packet.skb.vlan_proto), 0x8100);
  EXPECT_EQ(__builtin_bswap16(packet.skb.protocol), 0x0800);
  Bytes untagged = frame;
  untagged.erase(untagged.begin() + 12, untagged.begin() + 16);
  EXPECT_EQ(packet.bytes(), untagged);
  packet.retag_vlan();
  EXPECT_FALSE(packet.skb.vlan_present);
  EXPECT_EQ(packet.bytes(), frame);
}

TEST(Packet, LeavesFramesWithoutAVlanTagAlone) {
  const Bytes frame = counting_bytes(64);
  Packet packet(frame);
  packet.untag_vlan();
  EXPECT_FALSE(packet.skb.vlan_present);
  packet.retag_vlan();
  EXPECT_EQ(packet.bytes(), frame);
}

// Two adjustments one after the other, by the amounts in the first eight bytes of the frame; r0 is
// both answers, eight bits each.
Instructions two_adjustments(int32_t first, int32_t second) {
  using namespace test;  // NOLINT: the instructions' names
  return {move(r6, r1),
          load(4, r2, r6, offsetof(xdp_md, data)),
          load(4, r3, r6, offsetof(xdp_md, data_end)),
          move(r4, r2),
          alu(BPF_ADD, r4, 8),
          move(r0, 0),
          jump(BPF_JGT, r4, r3, 11),
          load(4, r7, r2, 4),
          load(4, r2, r2, 0),
          move(r1, r6),
          call(first),
          move(r8, r0),
          alu(BPF_AND, r8, 0xff),
          move(r1, r6),
          move(r2, r7),
          call(second),
          alu(BPF_LSH, r0, 8),
          alu(BPF_OR, r0, r8),
          leave()};
}

constexpr std::array<int32_t, 3> kAdjustments = {BPF_FUNC_xdp_adjust_head, BPF_FUNC_xdp_adjust_meta,
                                                 BPF_FUNC_xdp_adjust_tail};

class PacketAgainstKernel : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  static test::RunRequest request(uint32_t size, int32_t first, int32_t second) {
    test::RunRequest request;
    request.data = counting_bytes(size);
    if (size >= 8) {
      std::memcpy(request.data.data(), &first, 4);
      std::memcpy(request.data.data() + 4, &second, 4);
    }
    request.context_room = sizeof(xdp_md);
    return request;
  }

  void compare(int32_t helper, int32_t other, uint32_t flags,
               const std::vector<std::array<int32_t, 3>>& cases) {
    const auto program = two_adjustments(helper, other);
    const test::Descriptor ours = ours_.load(BPF_PROG_TYPE_XDP, program, flags);
    const test::Descriptor theirs = theirs_.load(BPF_PROG_TYPE_XDP, program, flags);
    ASSERT_EQ(theirs.error(), 0);
    ASSERT_EQ(ours.error(), 0);
    for (const auto& [size, first, second] : cases) {
      const auto asked = request(static_cast<uint32_t>(size), first, second);
      const test::RunAnswer answer = ours_.run(ours.fd(), asked);
      const test::RunAnswer expected = theirs_.run(theirs.fd(), asked);
      ASSERT_EQ(answer, expected) << "helpers " << helper << " and " << other << " of " << size
                                  << " bytes by " << first << " and " << second << ", flags "
                                  << flags << ": " << test::difference(answer, expected);
    }
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  test::EmulatedKernel ours_{kernel_};
  test::RealKernel theirs_;
};

TEST_F(PacketAgainstKernel, AnswersEveryAmountOfOneAdjustmentAlike) {
  std::vector<std::array<int32_t, 3>> cases;
  for (const int32_t size : {14, 15, 60, 64, 1514, 3300, 3520}) {
    for (int32_t delta = -280; delta <= 280; ++delta) cases.push_back({size, delta, 0});
    for (const int32_t limit : {size - 14, 3520 - size, 3520 - size + 256, 4096 - size}) {
      for (int32_t delta = limit - 3; delta <= limit + 3; ++delta) {
        cases.push_back({size, delta, 0});
        cases.push_back({size, -delta, 0});
      }
    }
    for (const int32_t far : {65535, -65536, 1 << 30, INT32_MAX, INT32_MIN}) {
      cases.push_back({size, far, 0});
    }
  }
  for (const int32_t helper : kAdjustments) {
    for (const uint32_t flags : {0u, static_cast<uint32_t>(BPF_F_XDP_HAS_FRAGS)}) {
      compare(helper, helper, flags, cases);
    }
  }
}

TEST_F(PacketAgainstKernel, AnswersRandomPairsOfAdjustmentsAlike) {
  std::mt19937 random(1);
  const auto between = [&](int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random);
  };
  for (const int32_t first : kAdjustments) {
    for (const int32_t second : kAdjustments) {
      std::vector<std::array<int32_t, 3>> cases;
      for (int i = 0; i < 1000; ++i) {
        const int32_t scale = i % 4 == 0 ? 4000 : i % 4 == 1 ? 64 : 240;
        const int32_t unit = i % 2 == 0 ? 1 : 4;
        cases.push_back({between(14, i % 3 == 0 ? 3520 : 200),
                         unit * (between(-scale, scale) / unit),
                         unit * (between(-scale, scale) / unit)});
      }
      compare(first, second, 0, cases);
    }
  }
}

TEST_F(PacketAgainstKernel, AnswersAdjustmentsOfFragmentedPacketsAlike) {
  std::mt19937 random(2);
  const auto between = [&](int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random);
  };
  for (const int32_t first : kAdjustments) {
    for (const int32_t second : kAdjustments) {
      std::vector<std::array<int32_t, 3>> cases;
      for (const int32_t size : {3521, 3600, 7615, 7616, 7617, 9000}) {
        for (const int32_t edge : {0, 3520, 3506, 4096, size, size - 14, size - 3520, 7616 - size,
                                   size - 3534, 11712 - size}) {
          for (int32_t delta = edge - 1; delta <= edge + 1; ++delta) {
            cases.push_back({size, delta, 0});
            cases.push_back({size, -delta, 1});
          }
        }
        for (int i = 0; i < 20; ++i) {
          cases.push_back({size, between(-9000, 5000), between(-9000, 5000)});
        }
      }
      for (const uint32_t flags : {0u, static_cast<uint32_t>(BPF_F_XDP_HAS_FRAGS)}) {
        compare(first, second, flags, cases);
      }
    }
  }
}

}  // namespace
}  // namespace xnic::vm
