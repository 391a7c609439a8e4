#include "vm/packet.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "vm/checksum.h"

namespace xnic::vm {
namespace {

// Linux grows a headroom by multiples of this, and a tailroom that fragments are pulled into by
// this much more than they need.
constexpr uint32_t kHeadroomUnit = 64;
constexpr uint32_t kSpareTailroom = 128;

// By 16 bytes at a time: of one memset of a few hundred GCC makes `rep stos`, slow to start.
template <size_t kBytes>
void zero(uint8_t* at) {
  constexpr size_t kUnit = 16;
  [at]<size_t... kUnits>(std::index_sequence<kUnits...>) {
    (std::memset(at + kUnits * kUnit, 0, kUnit), ...);
  }
  (std::make_index_sequence<kBytes / kUnit>());
  std::memset(at + kBytes / kUnit * kUnit, 0, kBytes % kUnit);
}

}  // namespace

bool is_vlan(uint16_t protocol) {
  return protocol == htons(ETH_P_8021Q) || protocol == htons(ETH_P_8021AD);
}

Packet::Packet() : own_(std::make_unique<uint8_t[]>(kFrameSize)) {
  buffer_ = own_.get();
  data_ = data_meta_ = data_end_ = buffer_ + kHeadroom;
}

void Packet::take_own(uint32_t size) {
  if (own_size_ < size) {
    own_ = std::make_unique<uint8_t[]>(size);
    own_size_ = size;
  }
  buffer_ = own_.get();
  buffer_size_ = size;
}

void Packet::assign(std::span<const uint8_t> frame, PacketLayout layout) {
  take_own(kFrameSize);
  const uint32_t room = kFrameSize - layout.headroom - kSharedInfoSize;
  const size_t in_front = std::min<size_t>(frame.size(), layout.metadata);
  const size_t in_buffer = std::min<size_t>(frame.size(), in_front + std::min(layout.linear, room));
  data_ = buffer_ + layout.headroom;
  data_meta_ = data_ - in_front;
  data_end_ = data_meta_ + in_buffer;
  std::copy_n(frame.begin(), in_buffer, data_meta_);
  begin();
  if (in_buffer < frame.size()) {
    fragments_.assign(frame.begin() + static_cast<ptrdiff_t>(in_buffer), frame.end());
  }
}

// As bytes, since compilers clear member by member.
void Packet::clear_skb() {
  static_assert(std::is_standard_layout_v<SkbFields>);
  constexpr size_t kOptions = offsetof(SkbFields, tunnel) + offsetof(Tunnel, options);
  constexpr size_t kBehind = kOptions + sizeof(Tunnel::options);
  auto* bytes = reinterpret_cast<uint8_t*>(&skb);
  zero<kOptions>(bytes);
  skb.tunnel.options.clear();
  zero<sizeof(SkbFields) - kBehind>(bytes + kBehind);
  was_skb_ = false;
}

void Packet::copy(const Packet& from) {
  take_own(from.buffer_size_);
  std::copy(from.buffer_, from.data_end_, buffer_);
  data_ = buffer_ + from.headroom();
  data_meta_ = data_ - from.metadata_length();
  data_end_ = data_ + from.linear_length();
  fragments_ = from.fragments_;
  id = from.id;
  ingress_ifindex = from.ingress_ifindex;
  rx_queue_index = from.rx_queue_index;
  ifindex = from.ifindex;
  rx_hash = from.rx_hash;
  rx_hash_type = from.rx_hash_type;
  rx_timestamp_ns = from.rx_timestamp_ns;
  rx_vlan = from.rx_vlan;
  skb = from.skb;
  was_skb_ = true;
  headers = from.headers;
}

bool Packet::read(uint32_t offset, std::span<uint8_t> to) const {
  if (offset > length() || to.size() > length() - offset) return false;
  const size_t in_linear = offset < linear_length() ? linear_length() - offset : 0;
  const size_t first = std::min(to.size(), in_linear);
  std::copy_n(data_ + offset, first, to.begin());
  if (first < to.size()) {
    const auto rest = fragments_.begin() + (offset + first - linear_length());
    std::copy_n(rest, to.size() - first, to.begin() + first);
  }
  return true;
}

bool Packet::write(uint32_t offset, std::span<const uint8_t> from) {
  if (offset > length() || from.size() > length() - offset) return false;
  const size_t in_linear = offset < linear_length() ? linear_length() - offset : 0;
  const size_t first = std::min(from.size(), in_linear);
  std::copy_n(from.begin(), first, data_ + offset);
  if (first < from.size()) {
    std::copy(from.begin() + first, from.end(),
              fragments_.begin() + (offset + first - linear_length()));
  }
  return true;
}

void Packet::classify_ethernet(std::span<const uint8_t, 6> device_address) {
  was_skb_ = true;
  constexpr std::array<uint8_t, 6> kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  if (std::equal(kBroadcast.begin(), kBroadcast.end(), data_)) {
    skb.pkt_type = PACKET_BROADCAST;
  } else if ((data_[0] & 1) != 0) {
    skb.pkt_type = PACKET_MULTICAST;
  } else if (!std::equal(device_address.begin(), device_address.end(), data_)) {
    skb.pkt_type = PACKET_OTHERHOST;
  } else {
    skb.pkt_type = PACKET_HOST;
  }
  skb.protocol = ethernet_protocol();
  headers = {.mac = offset_from_start(0), .network = offset_from_start(kEthernetHeader)};
  skb.mac_length = 0;
}

void Packet::receive() {
  untag_vlan();
  set_mac_offset(0);
  set_network_offset(kEthernetHeader);
  headers.transport = headers.network;
  skb.mac_length = kEthernetHeader;
  skb.at_ingress = true;
}

uint16_t Packet::ethernet_protocol() const {
  uint16_t ethertype;
  std::memcpy(&ethertype, data_ + 12, sizeof ethertype);
  if (ntohs(ethertype) >= ETH_P_802_3_MIN) return ethertype;
  // A length: an 802.2 frame, or Novell's raw 802.3 where the payload starts with ff ff.
  const bool raw = linear_length() >= kEthernetHeader + 2 && data_[14] == 0xff && data_[15] == 0xff;
  return htons(raw ? ETH_P_802_3 : ETH_P_802_2);
}

std::vector<uint8_t> Packet::bytes() const {
  std::vector<uint8_t> all(data_, data_end_);
  all.insert(all.end(), fragments_.begin(), fragments_.end());
  return all;
}

int Packet::adjust_head(int32_t delta) {
  const auto metadata = static_cast<ptrdiff_t>(metadata_length());
  const uint8_t* lowest = buffer_ + kXdpFrameSize + metadata;
  const ptrdiff_t to = (data_ - buffer_) + delta;
  if (to < lowest - buffer_) return -EINVAL;
  if (to > (data_end_ - buffer_) - static_cast<ptrdiff_t>(kEthernetHeader)) return -EINVAL;
  if (metadata != 0) std::memmove(data_meta_ + delta, data_meta_, static_cast<size_t>(metadata));
  data_meta_ += delta;
  data_ += delta;
  return 0;
}

int Packet::adjust_meta(int32_t delta) {
  const ptrdiff_t to = (data_meta_ - buffer_) + delta;
  if (to < static_cast<ptrdiff_t>(kXdpFrameSize) || to > data_ - buffer_) return -EINVAL;
  const ptrdiff_t length = (data_ - buffer_) - to;
  if (length % 4 != 0) return -EACCES;
  if (length > static_cast<ptrdiff_t>(kMaxMetadata)) return -EACCES;
  data_meta_ = buffer_ + to;
  return 0;
}

int Packet::adjust_tail(int32_t delta) {
  if (!fragments_.empty()) {
    // Linux negates it, and it stays negative: there is nothing to take.
    if (delta == INT32_MIN) return 0;
    if (delta < 0) return shrink_fragments(static_cast<uint32_t>(-static_cast<int64_t>(delta)));
    // The last fragment may grow to the end of its page.
    const size_t used = (fragments_.size() - 1) % kFragmentSize + 1;
    if (static_cast<size_t>(delta) > kFragmentSize - used) return -EINVAL;
    fragments_.resize(fragments_.size() + static_cast<size_t>(delta), 0);
    return 0;
  }
  const ptrdiff_t to = (data_end_ - buffer_) + delta;
  if (to > static_cast<ptrdiff_t>(kFrameSize - kSharedInfoSize)) return -EINVAL;
  if (to < (data_ - buffer_) + static_cast<ptrdiff_t>(kEthernetHeader)) return -EINVAL;
  // Linux clears what a program grows into, so that no old bytes leak.
  if (delta > 0) std::memset(data_end_, 0, static_cast<size_t>(delta));
  data_end_ = buffer_ + to;
  return 0;
}

int Packet::shrink_fragments(uint32_t count) {
  const uint32_t available = length();
  if (available < kEthernetHeader || count > available - kEthernetHeader) return -EINVAL;
  const auto from_fragments = std::min<size_t>(count, fragments_.size());
  fragments_.erase(fragments_.end() - static_cast<ptrdiff_t>(from_fragments), fragments_.end());
  data_end_ -= count - from_fragments;
  return 0;
}

void Packet::untag_vlan() {
  if (linear_length() < kEthernetHeader + kVlanTag || skb.vlan_present) return;
  uint16_t ethertype;
  std::memcpy(&ethertype, data_ + kMacAddresses, sizeof ethertype);
  if (!is_vlan(ethertype)) return;
  skb.vlan_tci = remove_vlan_tag();
  // Metadata that XDP left in front moves along.
  std::memmove(data_meta_, data_meta_ - kVlanTag, metadata_length());
  skb.vlan_present = true;
  skb.vlan_proto = ethertype;
}

void Packet::retag_vlan() {
  if (!skb.vlan_present) return;
  insert_vlan_tag(skb.vlan_proto, skb.vlan_tci);
  skb.vlan_present = false;
}

void Packet::insert_vlan_tag(uint16_t protocol, uint16_t tci) {
  ensure_headroom(kVlanTag);
  push(kVlanTag);
  std::memmove(data_, data_ + kVlanTag, kMacAddresses);
  tci = htons(tci);
  std::memcpy(data_ + kMacAddresses, &protocol, sizeof protocol);
  std::memcpy(data_ + kMacAddresses + 2, &tci, sizeof tci);
}

uint16_t Packet::remove_vlan_tag() {
  uint16_t tci;
  std::memcpy(&tci, data_ + kEthernetHeader, sizeof tci);
  std::memmove(data_ + kVlanTag, data_, kMacAddresses);
  pull(kVlanTag);
  skb.protocol = ethernet_protocol();
  return ntohs(tci);
}

void Packet::ensure_headroom(uint32_t count) {
  if (count <= headroom()) return;
  const uint32_t missing = count - headroom();
  expand((missing + kHeadroomUnit - 1) / kHeadroomUnit * kHeadroomUnit, 0);
}

bool Packet::ensure_linear(uint32_t count) {
  if (count <= linear_length()) return true;
  if (count > length()) return false;
  const uint32_t more = count - linear_length();
  if (more > tailroom()) expand(0, more - tailroom() + kSpareTailroom);
  std::copy_n(fragments_.begin(), more, data_end_);
  fragments_.erase(fragments_.begin(), fragments_.begin() + more);
  data_end_ += more;
  return true;
}

void Packet::push(uint32_t count) {
  // The length of the metadata stays, not its place; Linux lets it begin in front of the buffer.
  const uint32_t metadata = std::min(metadata_length(), headroom() - count);
  data_ -= count;
  data_meta_ = data_ - metadata;
}

void Packet::pull(uint32_t count) {
  data_ += count;
  data_meta_ += count;
}

void Packet::set_length(uint32_t length) {
  if (length > linear_length()) {
    const uint32_t more = length - linear_length();
    if (more > tailroom()) expand(0, more - tailroom());
    std::memset(data_end_, 0, more);
  }
  data_end_ = data_ + length;
}

uint32_t Packet::network_sum() const {
  const auto from = static_cast<uint32_t>(network_offset());
  if (fragments_.empty()) return sum_of(linear().subspan(from));
  return sum_of(std::span<const uint8_t>(bytes()).subspan(from));
}

Packet::PointerOffsets Packet::pointer_offsets() {
  const Packet packet;
  const auto offset = [&](uint8_t* const& pointer) {
    return static_cast<uint32_t>(reinterpret_cast<const char*>(&pointer) -
                                 reinterpret_cast<const char*>(&packet));
  };
  return {offset(packet.buffer_), offset(packet.data_meta_), offset(packet.data_),
          offset(packet.data_end_)};
}

void Packet::expand(uint32_t more_headroom, uint32_t more_tailroom) {
  // kmalloc's sizes.
  const uint32_t size = std::bit_ceil(buffer_size_ + more_headroom + more_tailroom);
  auto larger = std::make_unique<uint8_t[]>(size);
  std::copy(buffer_, data_end_, larger.get() + more_headroom);
  data_ = data_meta_ = larger.get() + more_headroom + headroom();
  data_end_ = larger.get() + more_headroom + (data_end_ - buffer_);
  own_ = std::move(larger);
  own_size_ = buffer_size_ = size;
  buffer_ = own_.get();
  for (uint16_t* header : {&headers.mac, &headers.network, &headers.transport}) {
    *header = static_cast<uint16_t>(*header + more_headroom);
  }
}

}  // namespace xnic::vm
