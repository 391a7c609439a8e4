#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
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
inline constexpr uint32_t kMacAddresses = 12;  // its part in front of the protocol
inline constexpr uint32_t kVlanTag = 4;
inline constexpr uint32_t kMaxMetadata = 252;
// Bytes past the linear area travel in fragments of one page.
inline constexpr uint32_t kFragmentSize = 4096;

// What is known of a packet's Internet checksum (skb->ip_summed). Left out: CHECKSUM_PARTIAL, which
// only packets have that a local socket sends.
enum class ChecksumState : uint8_t {
  none,
  unnecessary,  // verified, at so many levels of encapsulation as checksum_level says besides one
  complete,     // SkbFields::checksum sums the bytes from the network header on
};

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
  uint8_t tstamp_type = 0;  // BPF_SKB_CLOCK_*
  uint32_t wire_len = 0;
  uint32_t gso_segs = 0;
  uint32_t gso_size = 0;  // not 0: the packet is to be segmented
  uint64_t hwtstamp = 0;
  Tunnel tunnel{};

  // What helpers keep or observe, and no field of __sk_buff shows.
  uint32_t gso_type = 0;  // SKB_GSO_*, see vm/helpers/skb_room.cpp
  uint16_t mac_length = 0;
  bool hash_is_set = false;    // by a program, even to 0
  bool encapsulation = false;  // headers were pushed in front of those that came
  bool at_ingress = false;     // between the receive path and its end
  ChecksumState checksum_state = ChecksumState::none;
  uint8_t checksum_level = 0;  // at most 3
  uint32_t checksum = 0;       // unfolded, see vm/checksum.h
};

// Where headers begin, in bytes from the start of the buffer, as Linux counts them: modulo 2^16,
// and one that is unset moves along with the others when the headroom grows, so that it then seems
// to be set.
struct HeaderOffsets {
  static constexpr uint16_t kUnset = 0xffff;

  uint16_t mac = 0;
  uint16_t network = 0;
  uint16_t transport = kUnset;
};

// Whether an Ethernet protocol, in network byte order, is that of a VLAN tag.
bool is_vlan(uint16_t protocol);

// A VLAN tag outside of the packet's bytes.
struct VlanTag {
  uint16_t protocol;  // network byte order
  uint16_t tci;
};

// How Packet::assign places bytes, all in bytes.
struct PacketLayout {
  uint32_t headroom = kHeadroom;  // in front of data, metadata within
  uint32_t metadata = 0;          // so many of the given bytes lie in front of data
  uint32_t linear = kFrameSize;   // at most so many lie behind it; what fits the frame, too
};

// One packet: a buffer, whose pointers move as programs adjust it. To XDP it has one size for life,
// and hard_start + 40 <= data_meta <= data <= data_end <= hard_start + 256 + 3520. As an sk_buff it
// is exchanged for a larger one where it has not the room that a helper needs.
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

  // Starts over in memory of somebody else, without copying: kFrameSize bytes from hard_start on,
  // of which the frame's first `length`, at most kLinearSize, stand behind kHeadroom. The rest of
  // the frame is copied. The memory must outlive the packet's stay there, which ends with the next
  // assign(), borrow() or copy().
  void borrow(uint8_t* hard_start, uint32_t length) {
    buffer_ = hard_start;
    buffer_size_ = kFrameSize;
    data_ = data_meta_ = buffer_ + kHeadroom;
    data_end_ = data_ + length;
    begin();
  }
  void borrow(uint8_t* hard_start, uint32_t length, std::span<const uint8_t> rest) {
    borrow(hard_start, length);
    fragments_.assign(rest.begin(), rest.end());
  }
  // Whether the linear bytes are still in borrowed memory: what needs more room moves out of it.
  bool borrows() const { return buffer_ != own_.get(); }

  uint8_t* hard_start() { return buffer_; }
  uint32_t buffer_size() const { return buffer_size_; }
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

  // Becomes a clone of another packet.
  void copy(const Packet& from);

  // Copies bytes out of the linear area and the fragments, or into them. False, and nothing is
  // done, where the packet does not have them all.
  bool read(uint32_t offset, std::span<uint8_t> to) const;
  bool write(uint32_t offset, std::span<const uint8_t> from);

  // Sets skb.protocol and skb.pkt_type from the Ethernet header, as eth_type_trans does on receive
  // for a device with this address, and the headers' offsets. Needs 14 linear bytes.
  void classify_ethernet(std::span<const uint8_t, 6> device_address);
  // What follows on receive, up to tc ingress: a VLAN tag moves into the fields.
  void receive();

  // Moves the VLAN tag that follows the MAC addresses into the fields, as skb_vlan_untag does on
  // receive. Nothing happens without one.
  void untag_vlan();
  // Writes the tag of the fields back into the bytes, as a device without tag insertion does.
  void retag_vlan();

  // The buffer of an sk_buff. Where it must be exchanged, XDP's metadata is lost, as in Linux.
  // Makes room in front of data.
  void ensure_headroom(uint32_t count);
  // Makes the first bytes linear; false if there are not so many.
  bool ensure_linear(uint32_t count);
  // Moves the start of data; push needs the headroom, pull so many linear bytes.
  void push(uint32_t count);
  void pull(uint32_t count);
  // Cuts or extends a packet without fragments; new bytes are zero.
  void set_length(uint32_t length);
  // Writes a tag behind the MAC addresses.
  void insert_vlan_tag(uint16_t protocol, uint16_t tci);
  // Takes the tag there out again and gives its TCI; skb.protocol becomes what it encloses. Needs
  // 18 linear bytes.
  uint16_t remove_vlan_tag();
  // Exchanges the buffer, as Linux does to part a packet from its clone.
  void unclone() { expand(0, 0); }

  // Offsets of headers from data.
  int32_t mac_offset() const { return offset_from_data(headers.mac); }
  int32_t network_offset() const { return offset_from_data(headers.network); }
  int32_t transport_offset() const { return offset_from_data(headers.transport); }
  void set_mac_offset(int32_t offset) { headers.mac = offset_from_start(offset); }
  void set_network_offset(int32_t offset) { headers.network = offset_from_start(offset); }
  void set_transport_offset(int32_t offset) { headers.transport = offset_from_start(offset); }
  uint8_t* network_header() const { return buffer_ + headers.network; }
  // The unfolded checksum of all bytes from the network header on.
  uint32_t network_sum() const;

  // Where in the object its pointers stand, in bytes: for generated code.
  struct PointerOffsets {
    uint32_t hard_start;
    uint32_t data_meta;
    uint32_t data;
    uint32_t data_end;
  };
  static PointerOffsets pointer_offsets();

  // Where the packet came in. Set by the port, read by the program types.
  uint64_t id = 0;  // 1 for the first packet of a capture
  uint32_t ingress_ifindex = 0;
  uint32_t rx_queue_index = 0;
  uint32_t ifindex = 0;         // the device the packet is at now
  uint32_t egress_ifindex = 0;  // while the program of a devmap entry runs: where it is going
  uint32_t rx_hash = 0;         // RSS hash of the parser
  uint32_t rx_hash_type = 0;    // what it covers, XDP_RSS_TYPE_* of Linux; 0: nothing
  std::optional<uint64_t> rx_timestamp_ns{};  // when the MAC had the whole frame, if it noted that
  std::optional<VlanTag> rx_vlan{};           // which the NIC took out of the bytes
  HeaderOffsets headers;
  SkbFields skb;

 private:
  // Own memory for a buffer of this size.
  void take_own(uint32_t size);
  // Fields and headers' offsets of a frame that has just come, without fragments. Every packet
  // comes by here: what few have is cleared behind those few.
  void begin() {
    id = 0;
    ingress_ifindex = rx_queue_index = ifindex = rx_hash = rx_hash_type = 0;
    rx_timestamp_ns.reset();
    rx_vlan.reset();
    headers = {.mac = offset_from_start(0), .network = offset_from_start(kEthernetHeader)};
    if (was_skb_) clear_skb();
    if (!fragments_.empty()) fragments_.clear();
  }
  void clear_skb();
  int shrink_fragments(uint32_t count);
  uint16_t ethernet_protocol() const;  // network byte order
  int32_t offset_from_data(uint16_t header) const {
    return int32_t{header} - static_cast<int32_t>(headroom());
  }
  uint16_t offset_from_start(int32_t offset) const {
    return static_cast<uint16_t>(static_cast<int32_t>(headroom()) + offset);
  }
  uint32_t headroom() const { return static_cast<uint32_t>(data_ - buffer_); }
  uint32_t tailroom() const {
    return static_cast<uint32_t>(buffer_ + buffer_size_ - kSharedInfoSize - data_end_);
  }
  // Moves to a buffer with so much more room in front and behind.
  void expand(uint32_t more_headroom, uint32_t more_tailroom);

  // What every packet needs stands together, apart from what only sk_buffs do.
  alignas(64) uint8_t* buffer_;  // own_, or borrowed
  uint8_t* data_meta_;
  uint8_t* data_;
  uint8_t* data_end_;
  uint32_t buffer_size_ = kFrameSize;
  bool was_skb_ = false;  // skb may have been written
  std::vector<uint8_t> fragments_;
  std::unique_ptr<uint8_t[]> own_;
  uint32_t own_size_ = kFrameSize;  // never smaller
};

}  // namespace xnic::vm
