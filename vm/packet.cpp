#include "vm/packet.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace xnic::vm {

Packet::Packet() : buffer_(std::make_unique<uint8_t[]>(kFrameSize)) {
  data_ = data_meta_ = data_end_ = buffer_.get() + kHeadroom;
}

void Packet::assign(std::span<const uint8_t> frame, PacketLayout layout) {
  const uint32_t room = kFrameSize - layout.headroom - kSharedInfoSize;
  const size_t in_front = std::min<size_t>(frame.size(), layout.metadata);
  const size_t in_buffer = std::min<size_t>(frame.size(), in_front + std::min(layout.linear, room));
  data_ = buffer_.get() + layout.headroom;
  data_meta_ = data_ - in_front;
  data_end_ = data_meta_ + in_buffer;
  std::copy_n(frame.begin(), in_buffer, data_meta_);
  fragments_.assign(frame.begin() + static_cast<ptrdiff_t>(in_buffer), frame.end());
  id = 0;
  ingress_ifindex = rx_queue_index = ifindex = rx_hash = 0;
  skb = {};
}

void Packet::classify_ethernet(std::span<const uint8_t, 6> device_address) {
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
  const uint8_t* lowest = buffer_.get() + kXdpFrameSize + metadata;
  const ptrdiff_t to = (data_ - buffer_.get()) + delta;
  if (to < lowest - buffer_.get()) return -EINVAL;
  if (to > (data_end_ - buffer_.get()) - static_cast<ptrdiff_t>(kEthernetHeader)) return -EINVAL;
  std::memmove(data_meta_ + delta, data_meta_, static_cast<size_t>(metadata));
  data_meta_ += delta;
  data_ += delta;
  return 0;
}

int Packet::adjust_meta(int32_t delta) {
  const ptrdiff_t to = (data_meta_ - buffer_.get()) + delta;
  if (to < static_cast<ptrdiff_t>(kXdpFrameSize) || to > data_ - buffer_.get()) return -EINVAL;
  const ptrdiff_t length = (data_ - buffer_.get()) - to;
  if (length % 4 != 0) return -EACCES;
  if (length > static_cast<ptrdiff_t>(kMaxMetadata)) return -EACCES;
  data_meta_ = buffer_.get() + to;
  return 0;
}

int Packet::adjust_tail(int32_t delta) {
  if (!fragments_.empty()) {
    if (delta < 0) return shrink_fragments(static_cast<uint32_t>(-static_cast<int64_t>(delta)));
    // The last fragment may grow to the end of its page.
    const size_t used = (fragments_.size() - 1) % kFragmentSize + 1;
    if (static_cast<size_t>(delta) > kFragmentSize - used) return -EINVAL;
    fragments_.resize(fragments_.size() + static_cast<size_t>(delta), 0);
    return 0;
  }
  const ptrdiff_t to = (data_end_ - buffer_.get()) + delta;
  if (to > static_cast<ptrdiff_t>(kFrameSize - kSharedInfoSize)) return -EINVAL;
  if (to < (data_ - buffer_.get()) + static_cast<ptrdiff_t>(kEthernetHeader)) return -EINVAL;
  // Linux clears what a program grows into, so that no old bytes leak.
  if (delta > 0) std::memset(data_end_, 0, static_cast<size_t>(delta));
  data_end_ = buffer_.get() + to;
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
  constexpr size_t kTag = 4;
  if (linear_length() < kEthernetHeader + kTag || skb.vlan_present) return;
  uint16_t ethertype;
  std::memcpy(&ethertype, data_ + 12, sizeof ethertype);
  if (ethertype != htons(ETH_P_8021Q) && ethertype != htons(ETH_P_8021AD)) return;
  uint16_t tci;
  std::memcpy(&tci, data_ + 14, sizeof tci);
  // Metadata that XDP left in front moves along.
  std::memmove(data_meta_ + kTag, data_meta_, metadata_length() + 12);
  data_ += kTag;
  data_meta_ += kTag;
  skb.vlan_present = true;
  skb.vlan_tci = ntohs(tci);
  skb.vlan_proto = ethertype;
  skb.protocol = ethernet_protocol();
}

void Packet::retag_vlan() {
  constexpr size_t kTag = 4;
  if (!skb.vlan_present || data_meta_ - buffer_.get() < static_cast<ptrdiff_t>(kTag)) return;
  std::memmove(data_meta_ - kTag, data_meta_, metadata_length() + 12);
  data_ -= kTag;
  data_meta_ -= kTag;
  const uint16_t tci = htons(skb.vlan_tci);
  std::memcpy(data_ + 12, &skb.vlan_proto, sizeof skb.vlan_proto);
  std::memcpy(data_ + 14, &tci, sizeof tci);
  skb.vlan_present = false;
}

}  // namespace xnic::vm
