// What the helpers of an sk_buff do where BPF_PROG_TEST_RUN cannot lead the real kernel: fragments,
// metadata of XDP, tc ingress, segmented packets of a known kind, hashes. The expectations are read
// from Linux 6.12's net/core.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <cerrno>
#include <cstring>
#include <numeric>

#include "vm/checksum.h"
#include "vm/flow_hash.h"
#include "vm/helper.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kTcpV4 = 1;  // SKB_GSO_*
constexpr uint32_t kDodgy = 2;
constexpr uint32_t kTcpV6 = 16;
constexpr uint32_t kUdpTunnel = 1024;
constexpr uint32_t kUdpV4 = 1u << 17;

Bytes frame(size_t size, uint16_t ethertype = ETH_P_IP) {
  Bytes bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  bytes[12] = static_cast<uint8_t>(ethertype >> 8);
  bytes[13] = static_cast<uint8_t>(ethertype);
  bytes[14] = ethertype == ETH_P_IP ? 0x45 : 0x60;
  return bytes;
}

class Skb : public testing::Test {
 protected:
  // A packet as it comes to tc ingress.
  void arrive(const Bytes& bytes) {
    packet_.assign(bytes);
    packet_.classify_ethernet(packet_.linear().first<6>());
    packet_.receive();
  }

  int64_t call(uint32_t helper, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0) {
    const auto context = reinterpret_cast<uintptr_t>(&packet_);
    const Helper* row = find_helper(helper, kTc);
    const uint8_t* before = packet_.data();
    const uint8_t* end = packet_.data_end();
    const auto answer = static_cast<int64_t>(row->function(run_, context, a, b, c, d));
    EXPECT_TRUE(row->changes_packet || (before == packet_.data() && end == packet_.data_end()))
        << row->name;
    return answer;
  }

  static uint64_t at(void* memory) { return reinterpret_cast<uintptr_t>(memory); }

  Packet packet_;
  Environment environment_;
  Invocation run_{packet_, environment_};
};

TEST_F(Skb, ReadsAcrossFragmentsAndWritesThemLinear) {
  const Bytes jumbo = frame(9000);
  for (const uint32_t offset : {0u, 3516u, 3519u, 3520u, 5000u, 8992u, 8993u, 9000u}) {
    arrive(jumbo);
    Bytes read(8, 0xee);
    const bool inside = offset + 8 <= jumbo.size();
    EXPECT_EQ(call(BPF_FUNC_skb_load_bytes, offset, at(read.data()), 8), inside ? 0 : -EFAULT);
    Bytes expected(8);
    if (inside) std::copy_n(jumbo.begin() + offset, 8, expected.begin());
    EXPECT_EQ(read, expected) << offset;
    EXPECT_EQ(packet_.linear_length(), 3520u);

    Bytes mine(8, 0x77);
    EXPECT_EQ(call(BPF_FUNC_skb_store_bytes, offset, at(mine.data()), 8, 0), inside ? 0 : -EFAULT);
    Bytes written = jumbo;
    if (inside) std::copy(mine.begin(), mine.end(), written.begin() + offset);
    EXPECT_EQ(packet_.bytes(), written) << offset;
    EXPECT_EQ(packet_.linear_length(), std::max(3520u, inside ? offset + 8 : 0)) << offset;
  }
}

TEST_F(Skb, ReadsRelativeToAHeaderInTheLinearAreaAlone) {
  arrive(frame(9000));
  Bytes read(4);
  EXPECT_EQ(call(BPF_FUNC_skb_load_bytes_relative, 3520 - 14 - 4, at(read.data()), 4, 1), 0);
  EXPECT_EQ(call(BPF_FUNC_skb_load_bytes_relative, 3520 - 14 - 3, at(read.data()), 4, 1), -EFAULT);
  EXPECT_EQ(call(BPF_FUNC_skb_pull_data, 3521), 0);
  EXPECT_EQ(call(BPF_FUNC_skb_load_bytes_relative, 3520 - 14 - 3, at(read.data()), 4, 1), 0);
}

TEST_F(Skb, PullsAsMuchOfTheFragmentsAsIsAskedFor) {
  const Bytes jumbo = frame(9000);
  arrive(jumbo);
  EXPECT_EQ(call(BPF_FUNC_skb_pull_data, 0), 0);
  EXPECT_EQ(packet_.linear_length(), 3520u);
  EXPECT_EQ(call(BPF_FUNC_skb_pull_data, 9001), -ENOMEM);
  EXPECT_EQ(call(BPF_FUNC_skb_pull_data, 6000), 0);
  EXPECT_EQ(packet_.linear_length(), 6000u);
  EXPECT_EQ(packet_.bytes(), jumbo);
  EXPECT_EQ(call(BPF_FUNC_skb_change_tail, 8000, 0), 0);
  EXPECT_EQ(packet_.linear_length(), 8000u);
  EXPECT_EQ(packet_.bytes(), Bytes(jumbo.begin(), jumbo.begin() + 8000));
}

TEST_F(Skb, TakesItsFirstBufferAgainForTheNextPacket) {
  arrive(frame(9000));
  ASSERT_EQ(call(BPF_FUNC_skb_change_tail, 16000, 0), 0);
  EXPECT_GT(packet_.buffer_size(), kFrameSize);
  arrive(frame(9000));
  EXPECT_EQ(packet_.buffer_size(), kFrameSize);
  EXPECT_EQ(packet_.linear_length(), 3520u);
}

// pskb_expand_head() forgets it, and only it.
TEST_F(Skb, LosesMetadataWhereItsBufferIsExchanged) {
  const auto with_metadata = [&] {
    packet_.assign(frame(100));
    ASSERT_EQ(packet_.adjust_meta(-8), 0);
    packet_.classify_ethernet(packet_.linear().first<6>());
    packet_.receive();
  };
  with_metadata();
  EXPECT_EQ(call(BPF_FUNC_skb_change_head, 200, 0), 0);
  EXPECT_EQ(packet_.metadata_length(), 8u);
  EXPECT_EQ(call(BPF_FUNC_skb_change_head, 57, 0), 0);
  EXPECT_EQ(packet_.metadata_length(), 0u);
  with_metadata();
  EXPECT_EQ(call(BPF_FUNC_skb_change_tail, 3520, 0), 0);
  EXPECT_EQ(packet_.metadata_length(), 8u);
  EXPECT_EQ(call(BPF_FUNC_skb_change_tail, 3521, 0), 0);
  EXPECT_EQ(packet_.metadata_length(), 0u);
  with_metadata();
  EXPECT_EQ(call(BPF_FUNC_clone_redirect, 2, 0), 0);
  EXPECT_EQ(packet_.metadata_length(), 0u);
}

// skb_reorder_vlan_header() of Linux takes it along.
TEST_F(Skb, KeepsMetadataWhileATagMovesIntoTheFieldsOnReceive) {
  Bytes tagged = frame(100);
  const Bytes tag = {0x81, 0x00, 0x20, 0x64};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  packet_.assign(tagged);
  ASSERT_EQ(packet_.adjust_meta(-8), 0);
  std::memcpy(packet_.data_meta(), "metadata", 8);
  packet_.classify_ethernet(packet_.linear().first<6>());
  packet_.receive();
  EXPECT_EQ(packet_.bytes(), frame(100));
  ASSERT_EQ(packet_.metadata_length(), 8u);
  EXPECT_EQ(std::memcmp(packet_.data_meta(), "metadata", 8), 0);
}

TEST_F(Skb, LeavesACloneForTheMachineToSend) {
  arrive(frame(9000));
  packet_.skb.mark = 7;
  EXPECT_EQ(call(BPF_FUNC_clone_redirect, 2, BPF_F_INGRESS), 0);
  EXPECT_EQ(call(BPF_FUNC_clone_redirect, 3, 0), -EINVAL);
  ASSERT_EQ(run_.clones.size(), 1u);
  packet_.data()[0] = 0xff;
  const Clone& clone = run_.clones[0];
  EXPECT_EQ(clone.packet->bytes(), frame(9000));
  EXPECT_EQ(clone.packet->skb.mark, 7u);
  EXPECT_EQ(clone.to.ifindex, 2u);
  EXPECT_EQ(clone.to.flags, uint64_t{BPF_F_INGRESS});
}

// At tc ingress the sum covers what lies behind the link layer, whichever way a tag takes.
TEST_F(Skb, KeepsItsSumWhileTagsMoveAtIngress) {
  Bytes tagged = frame(200);
  const Bytes tag = {0x81, 0x00, 0x20, 0x64};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
  arrive(tagged);
  packet_.skb.checksum_state = ChecksumState::complete;
  packet_.skb.checksum = packet_.network_sum();
  const auto holds = [&] {
    return sum_in_16_bits(packet_.skb.checksum) == sum_in_16_bits(packet_.network_sum());
  };
  ASSERT_TRUE(packet_.skb.vlan_present);
  EXPECT_EQ(call(BPF_FUNC_skb_vlan_push, htons(ETH_P_8021AD), 5), 0);
  EXPECT_EQ(packet_.length(), 204u);
  EXPECT_TRUE(holds());
  EXPECT_EQ(call(BPF_FUNC_skb_vlan_push, htons(ETH_P_8021Q), 6), 0);
  EXPECT_EQ(packet_.length(), 208u);
  EXPECT_TRUE(holds());
  for (const uint32_t length : {204u, 200u, 200u}) {
    EXPECT_EQ(call(BPF_FUNC_skb_vlan_pop), 0);
    EXPECT_EQ(packet_.length(), length);
    EXPECT_TRUE(holds());
  }
  EXPECT_FALSE(packet_.skb.vlan_present);
  EXPECT_EQ(packet_.bytes(), frame(200));
}

TEST_F(Skb, ResizesSegmentsWithTheHeadersInFrontOfThem) {
  const auto segmented = [&](uint32_t type) {
    arrive(frame(3000));
    packet_.skb.gso_size = 1400;
    packet_.skb.gso_segs = 3;
    packet_.skb.gso_type = type;
  };
  constexpr uint64_t kVxlan = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
  segmented(kTcpV4);
  EXPECT_EQ(call(BPF_FUNC_skb_adjust_room, 50, BPF_ADJ_ROOM_MAC, kVxlan), 0);
  EXPECT_EQ(packet_.skb.gso_size, 1350u);
  EXPECT_EQ(packet_.skb.gso_segs, 0u);
  EXPECT_EQ(packet_.skb.gso_type, kTcpV4 | kDodgy | kUdpTunnel);
  segmented(kTcpV4);
  EXPECT_EQ(call(BPF_FUNC_skb_adjust_room, 50, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO), 0);
  EXPECT_EQ(packet_.skb.gso_size, 1400u);
  EXPECT_EQ(packet_.skb.gso_type, kTcpV4 | kDodgy);
  segmented(kTcpV4);
  EXPECT_EQ(call(BPF_FUNC_skb_adjust_room, static_cast<uint64_t>(-20), BPF_ADJ_ROOM_MAC, 0), 0);
  EXPECT_EQ(packet_.skb.gso_size, 1420u);
  // The length of a datagram is its own.
  segmented(kUdpV4);
  EXPECT_EQ(call(BPF_FUNC_skb_adjust_room, 50, BPF_ADJ_ROOM_MAC, 0), -524);
  EXPECT_EQ(call(BPF_FUNC_skb_adjust_room, 50, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO), 0);
  segmented(kTcpV4);
  EXPECT_EQ(call(BPF_FUNC_skb_change_proto, htons(ETH_P_IPV6), 0), 0);
  EXPECT_EQ(packet_.skb.gso_type, kTcpV6 | kDodgy);
  EXPECT_EQ(call(BPF_FUNC_skb_change_tail, 3000, 0), 0);
  EXPECT_EQ(packet_.skb.gso_size, 0u);
  EXPECT_EQ(packet_.skb.gso_type, 0u);
}

TEST_F(Skb, HashesBothDirectionsOfAFlowAlikeAndOthersOtherwise) {
  Bytes there = frame(100);
  there[23] = 6;
  Bytes back = there;
  std::swap_ranges(back.begin() + 26, back.begin() + 30, back.begin() + 30);
  std::swap_ranges(back.begin() + 34, back.begin() + 36, back.begin() + 36);
  // Its flags and offset, which the counting bytes set, would make it a fragment.
  for (Bytes* bytes : {&there, &back}) (*bytes)[20] = (*bytes)[21] = 0;
  const auto hash = [&](const Bytes& bytes) {
    arrive(bytes);
    const int64_t found = call(BPF_FUNC_get_hash_recalc);
    EXPECT_EQ(found, packet_.skb.hash);
    return found;
  };
  EXPECT_EQ(hash(there), hash(back));
  for (const size_t changed : {23u, 26u, 33u, 34u, 37u}) {
    Bytes other = there;
    other[changed] ^= 0x1b;
    EXPECT_NE(hash(other), hash(there)) << changed;
  }
  Bytes payload = there;
  payload[60] ^= 1;
  EXPECT_EQ(hash(payload), hash(there));
  // The hash that came with the packet stays until it is called invalid.
  arrive(there);
  packet_.skb.hash = 5;
  EXPECT_EQ(call(BPF_FUNC_get_hash_recalc), 5);
  EXPECT_EQ(call(BPF_FUNC_set_hash_invalid), 0);
  EXPECT_EQ(call(BPF_FUNC_get_hash_recalc), hash(there));
}

// bpf_helper_changes_pkt_data() of Linux.
TEST(SkbHelpers, VoidPacketPointersWhereLinuxDoes) {
  constexpr std::array kChanging = {
      BPF_FUNC_clone_redirect,       BPF_FUNC_l3_csum_replace,  BPF_FUNC_l4_csum_replace,
      BPF_FUNC_lwt_push_encap,       BPF_FUNC_lwt_seg6_action,  BPF_FUNC_lwt_seg6_adjust_srh,
      BPF_FUNC_lwt_seg6_store_bytes, BPF_FUNC_msg_pop_data,     BPF_FUNC_msg_pull_data,
      BPF_FUNC_msg_push_data,        BPF_FUNC_store_hdr_opt,    BPF_FUNC_skb_adjust_room,
      BPF_FUNC_skb_change_head,      BPF_FUNC_skb_change_proto, BPF_FUNC_skb_change_tail,
      BPF_FUNC_skb_pull_data,        BPF_FUNC_skb_store_bytes,  BPF_FUNC_skb_vlan_pop,
      BPF_FUNC_skb_vlan_push,        BPF_FUNC_xdp_adjust_head,  BPF_FUNC_xdp_adjust_meta,
      BPF_FUNC_xdp_adjust_tail,      BPF_FUNC_tail_call};
  for (const Helper& row : helpers()) {
    const bool changes = std::find(kChanging.begin(), kChanging.end(), row.id) != kChanging.end();
    EXPECT_EQ(row.changes_packet, changes) << row.name;
  }
}

}  // namespace
}  // namespace xnic::vm
