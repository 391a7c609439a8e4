#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace xnic::vm {

// The layout of one packet buffer, as the Linux kernel lays out a page for XDP (x86-64):
//   | headroom 256 | linear data, at most 3520 | skb_shared_info 320 |
inline constexpr uint32_t kFrameSize = 4096;
inline constexpr uint32_t kHeadroom = 256;
inline constexpr uint32_t kSharedInfoSize = 320;
inline constexpr uint32_t kLinearSize = kFrameSize - kHeadroom - kSharedInfoSize;
// struct xdp_frame lives at the start of the headroom; packets may not grow into it.
inline constexpr uint32_t kXdpFrameSize = 40;
inline constexpr uint32_t kEthernetHeader = 14;
inline constexpr uint32_t kMaxMetadata = 252;
// Bytes past the linear area travel in fragments of one page.
inline constexpr uint32_t kFragmentSize = 4096;

// Where a tunnel device is to send a packet, as bpf_skb_set_tunnel_key says. Addresses as they
// stand in struct bpf_tunnel_key.
struct Tunnel {
  bool set = false;
  bool v6 = false;
  uint16_t flags = 0;  // TUNNEL_* of Linux, host byte order
  uint32_t id = 0;
  uint8_t tos = 0;
  uint8_t ttl = 0;
  uint32_t label = 0;
  std::array<uint8_t, 16> source{};
  std::array<uint8_t, 16> destination{};
  std::vector<uint8_t> options{};
};

// The fields of struct sk_buff that a tc program can read or write and that do not follow from
// the bytes. Zero in a fresh packet. Byte order as in __sk_buff (linux/bpf.h).
struct SkbFields {
  uint32_t pkt_type = 0;
  uint32_t mark = 0;
  uint32_t queue_mapping = 0;
  uint16_t protocol = 0;  // network byte order
  uint16_t vlan_tci = 0;
  uint16_t vlan_proto = 0;  // network byte order
  bool vlan_present = false;
  uint32_t priority = 0;
  uint32_t cb[5] = {};
  uint32_t hash = 0;
  uint32_t tc_index = 0;
  uint32_t tc_classid = 0;
  uint32_t napi_id = 0;
  uint64_t tstamp = 0;
  uint32_t wire_len = 0;
  uint32_t gso_segs = 0;
  uint32_t gso_size = 0;
  uint64_t hwtstamp = 0;
  Tunnel tunnel{};
};

// How Packet::assign places bytes, all in bytes.
struct PacketLayout {
  uint32_t headroom = kHeadroom;  // in front of data, metadata within
  uint32_t metadata = 0;          // so many of the given bytes lie in front of data
  uint32_t linear = kFrameSize;   // at most so many lie behind it; what fits the frame, too
};

// One packet: one buffer for life, whose pointers move as programs adjust it.
// Invariant: hard_start + 40 <= data_meta <= data <= data_end <= hard_start + 256 + 3520.
// The object's own address is the program context (r1), so it is at least as large as every
// context; see vm/program_type.h for how accesses to it are answered. Not copyable: a packet has
// one owner at any time.
class alignas(64) Packet {
 public:
  Packet();
  explicit Packet(std::span<const uint8_t> frame) : Packet() { assign(frame); }
  Packet(const Packet&) = delete;
  Packet& operator=(const Packet&) = delete;

  // Starts over with these bytes, fields zero. Bytes past the linear area go to fragments, which
  // programs without multi-buffer support do not see.
  void assign(std::span<const uint8_t> frame, PacketLayout layout = {});

  uint8_t* hard_start() { return buffer_.get(); }
  uint8_t* data() const { return data_; }
  uint8_t* data_end() const { return data_end_; }
  uint8_t* data_meta() const { return data_meta_; }
  uint32_t linear_length() const { return static_cast<uint32_t>(data_end_ - data_); }
  uint32_t metadata_length() const { return static_cast<uint32_t>(data_ - data_meta_); }
  uint32_t length() const { return linear_length() + static_cast<uint32_t>(fragments_.size()); }
  std::span<const uint8_t> linear() const { return {data_, data_end_}; }
  std::span<const uint8_t> fragments() const { return fragments_; }
  // All bytes in order, linear area and fragments. Copies.
  std::vector<uint8_t> bytes() const;

  // bpf_xdp_adjust_head, _meta and _tail: 0, or -EINVAL, -EACCES as the kernel answers.
  int adjust_head(int32_t delta);
  int adjust_meta(int32_t delta);
  int adjust_tail(int32_t delta);

  // Sets skb.protocol and skb.pkt_type from the Ethernet header, as eth_type_trans does on receive
  // for a device with this address. Needs 14 linear bytes.
  void classify_ethernet(std::span<const uint8_t, 6> device_address);

  // Moves the VLAN tag that follows the MAC addresses into the fields, as skb_vlan_untag does on
  // receive. Nothing happens without one.
  void untag_vlan();
  // Writes the tag of the fields back into the bytes, as a device without tag insertion does.
  void retag_vlan();

  // Where the packet came in. Set by the port, read by the program types.
  uint64_t id = 0;  // 1 for the first packet of a capture
  uint32_t ingress_ifindex = 0;
  uint32_t rx_queue_index = 0;
  uint32_t ifindex = 0;         // the device the packet is at now
  uint32_t egress_ifindex = 0;  // while the program of a devmap entry runs: where it is going
  uint32_t rx_hash = 0;         // RSS hash of the parser
  SkbFields skb;

 private:
  int shrink_fragments(uint32_t count);
  uint16_t ethernet_protocol() const;  // network byte order

  std::unique_ptr<uint8_t[]> buffer_;
  uint8_t* data_meta_;
  uint8_t* data_;
  uint8_t* data_end_;
  std::vector<uint8_t> fragments_;
};

}  // namespace xnic::vm
