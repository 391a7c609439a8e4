// Packets in mbufs. A frame is copied only where its layout does not allow for less: drivers that
// place data elsewhere than behind the headroom, jumbo frames past the linear area.
// Test: tests/sim/line_command_test.cpp.
#include "nic/ports/dpdk_frames.h"

#include <linux/if_ether.h>
#include <rte_errno.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "vm/packet.h"

namespace xnic::nic {
namespace {

// In front of an mbuf's own headroom.
constexpr uint32_t kMoreHeadroom = vm::kHeadroom - RTE_PKTMBUF_HEADROOM;
constexpr uint32_t kDataRoom = RTE_PKTMBUF_HEADROOM + vm::kLinearSize;
constexpr uint32_t kElementSize =
    sizeof(rte_mbuf) + kMoreHeadroom + kDataRoom + vm::kSharedInfoSize;
constexpr uint32_t kCacheSize = 256;  // mbufs that each thread keeps at hand
// How long a device may take none of the frames that wait before they are lost.
constexpr auto kPatience = std::chrono::microseconds(50);

uint8_t* buffer_of(const rte_mbuf* mbuf) { return static_cast<uint8_t*>(mbuf->buf_addr); }

// Whether its bytes are in itself, and nobody else's, too.
bool is_own(const rte_mbuf* mbuf) {
  return RTE_MBUF_DIRECT(mbuf) && rte_mbuf_refcnt_read(mbuf) == 1;
}

std::vector<uint8_t> bytes_behind(const rte_mbuf* mbuf, uint32_t offset) {
  std::vector<uint8_t> rest(mbuf->pkt_len - offset);
  if (rest.empty()) return rest;
  const void* at = rte_pktmbuf_read(mbuf, offset, static_cast<uint32_t>(rest.size()), rest.data());
  if (at != nullptr && at != rest.data()) std::memcpy(rest.data(), at, rest.size());
  return rest;
}

// What the hash covers, XDP_RSS_TYPE_* of Linux, from what the device parsed.
uint32_t hash_type_of(uint32_t packet_type) {
  enum : uint32_t { kL3v4 = 1 << 0, kL3v6 = 1 << 1, kL4 = 1 << 3, kTcp = 1 << 4, kUdp = 1 << 5 };
  uint32_t type = 0;
  if (RTE_ETH_IS_IPV4_HDR(packet_type)) type |= kL3v4;
  if (RTE_ETH_IS_IPV6_HDR(packet_type)) type |= kL3v6;
  if ((packet_type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_TCP) type |= kL4 | kTcp;
  if ((packet_type & RTE_PTYPE_L4_MASK) == RTE_PTYPE_L4_UDP) type |= kL4 | kUdp;
  return type;
}

void take_offloads(const rte_mbuf* mbuf, vm::Packet& packet) {
  if ((mbuf->ol_flags & (RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_VLAN_STRIPPED)) == 0) return;
  if ((mbuf->ol_flags & RTE_MBUF_F_RX_RSS_HASH) != 0) {
    packet.rx_hash = mbuf->hash.rss;
    packet.rx_hash_type = hash_type_of(mbuf->packet_type);
  }
  if ((mbuf->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
    packet.rx_vlan = vm::VlanTag{.protocol = __builtin_bswap16(ETH_P_8021Q), .tci = mbuf->vlan_tci};
  }
}

}  // namespace

rte_mempool* make_pool(const char* name, uint32_t frames) {
  rte_mempool* pool = rte_mempool_create_empty(name, frames, kElementSize, kCacheSize,
                                               sizeof(rte_pktmbuf_pool_private), SOCKET_ID_ANY, 0);
  if (pool == nullptr) return nullptr;
  rte_pktmbuf_pool_private layout{
      .mbuf_data_room_size = kDataRoom, .mbuf_priv_size = kMoreHeadroom, .flags = 0};
  rte_pktmbuf_pool_init(pool, &layout);
  if (const int made = rte_mempool_populate_default(pool); made < 0) {
    rte_mempool_free(pool);
    rte_errno = -made;
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

void MbufPort::wrap(std::span<PortFrame* const> frames, std::span<vm::Packet* const> packets) {
  constexpr size_t kAhead = 4;
  for (size_t i = 0; i < std::min(kAhead, frames.size()); ++i) {
    rte_prefetch0(rte_pktmbuf_mtod(mbuf_of(frames[i]), void*));
  }
  for (size_t i = 0; i < frames.size(); ++i) {
    if (i + kAhead < frames.size()) {
      rte_prefetch0(rte_pktmbuf_mtod(mbuf_of(frames[i + kAhead]), void*));
    }
    const rte_mbuf* mbuf = mbuf_of(frames[i]);
    vm::Packet& packet = *packets[i];
    const bool fits = mbuf->pool == pool_ && is_own(mbuf) &&
                      mbuf->data_off == RTE_PKTMBUF_HEADROOM && mbuf->data_len <= vm::kLinearSize;
    if (fits && mbuf->nb_segs == 1) [[likely]] {
      packet.borrow(buffer_of(mbuf) - kMoreHeadroom, mbuf->data_len);
    } else if (fits && mbuf->data_len == vm::kLinearSize) {
      packet.borrow(buffer_of(mbuf) - kMoreHeadroom, mbuf->data_len,
                    bytes_behind(mbuf, mbuf->data_len));
    } else {
      packet.assign(bytes_behind(mbuf, 0));
    }
    take_offloads(mbuf, packet);
  }
}

// Makes the mbuf carry the packet as it is now. False where memory does not suffice.
inline bool MbufPort::lay_out(rte_mbuf* mbuf, const vm::Packet& packet) {
  const bool stands_there = packet.borrows() && mbuf->nb_segs == 1 &&
                            packet.data() == buffer_of(mbuf) + mbuf->data_off &&
                            packet.length() == mbuf->data_len;
  if (!stands_there) return lay_out_anew(mbuf, packet);
  mbuf->ol_flags = 0;
  return true;
}

bool MbufPort::lay_out_anew(rte_mbuf* mbuf, const vm::Packet& packet) {
  if (mbuf->nb_segs > 1) {
    rte_pktmbuf_free(mbuf->next);
    mbuf->next = nullptr;
    mbuf->nb_segs = 1;
  }
  mbuf->ol_flags = 0;
  const std::span<const uint8_t> linear = packet.linear();
  const ptrdiff_t offset = packet.data() - buffer_of(mbuf);
  const bool in_place =
      packet.borrows() && offset >= -ptrdiff_t{kMoreHeadroom} && offset <= ptrdiff_t{mbuf->buf_len};
  size_t placed = linear.size();
  if (in_place && offset >= 0) {
    mbuf->data_off = static_cast<uint16_t>(offset);
  } else {
    mbuf->data_off = in_place ? 0 : RTE_PKTMBUF_HEADROOM;
    // In place it may stretch to where skb_shared_info has its room.
    if (!in_place) placed = std::min<size_t>(placed, mbuf->buf_len - mbuf->data_off);
    std::memmove(buffer_of(mbuf) + mbuf->data_off, linear.data(), placed);
  }
  mbuf->data_len = static_cast<uint16_t>(placed);
  mbuf->pkt_len = mbuf->data_len;
  if (placed == linear.size() && packet.fragments().empty()) return true;
  const auto append = [&](std::span<const uint8_t> rest) {
    rte_mbuf* last = rte_pktmbuf_lastseg(mbuf);
    while (!rest.empty()) {
      rte_mbuf* next = rte_pktmbuf_alloc(pool_);
      if (next == nullptr) return false;
      const size_t part = std::min<size_t>(rest.size(), vm::kLinearSize);
      std::memcpy(rte_pktmbuf_mtod(next, void*), rest.data(), part);
      next->data_len = static_cast<uint16_t>(part);
      next->pkt_len = next->data_len;
      last->next = next;
      last = next;
      ++mbuf->nb_segs;
      mbuf->pkt_len += static_cast<uint32_t>(part);
      rest = rest.subspan(part);
    }
    return true;
  };
  return append(linear.subspan(placed)) && append(packet.fragments());
}

void MbufPort::send(uint32_t thread, PortFrame* frame, const vm::Packet& packet) {
  Waiting& waiting = waiting_[thread];
  rte_mbuf* mbuf = mbuf_of(frame);
  if (lay_out(mbuf, packet)) return queue(waiting, thread, mbuf);
  rte_pktmbuf_free(mbuf);
  ++waiting.lost;
}

void MbufPort::send(uint32_t thread, std::span<PortFrame* const> frames,
                    std::span<vm::Packet* const> packets) {
  for (size_t i = 0; i < frames.size(); ++i) send(thread, frames[i], *packets[i]);
}

void MbufPort::send(uint32_t thread, PortFrame* frame) {
  queue(waiting_[thread], thread, mbuf_of(frame));
}

void MbufPort::transmit_waiting(uint32_t thread) {
  Waiting& waiting = waiting_[thread];
  std::span<rte_mbuf*> left(waiting.mbufs, waiting.count);
  waiting.count = 0;
  left = left.subspan(transmit(thread, left));
  if (left.empty()) return;
  for (auto tried = std::chrono::steady_clock::now(); !left.empty();) {
    const uint16_t sent = transmit(thread, left);
    const auto now = std::chrono::steady_clock::now();
    if (sent != 0) {
      left = left.subspan(sent);
      tried = now;
    } else if (now - tried > kPatience) {
      waiting.lost += left.size();
      rte_pktmbuf_free_bulk(left.data(), static_cast<unsigned>(left.size()));
      return;
    }
  }
}

size_t MbufPort::flush(uint32_t thread) {
  Waiting& waiting = waiting_[thread];
  if (waiting.count != 0) transmit_waiting(thread);
  const size_t lost = waiting.lost;
  waiting.lost = 0;
  return lost;
}

PortFrame* MbufPort::make(uint32_t length) {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
  if (mbuf == nullptr) return nullptr;
  mbuf->data_len = static_cast<uint16_t>(length);
  mbuf->pkt_len = length;
  return frame_of(mbuf);
}

std::span<uint8_t> MbufPort::bytes(PortFrame* frame) {
  rte_mbuf* mbuf = mbuf_of(frame);
  return {rte_pktmbuf_mtod(mbuf, uint8_t*), mbuf->data_len};
}

// Those that are as they were made go back to the pool at once.
void MbufPort::free(std::span<PortFrame* const> frames) {
  for (size_t first = 0; first < frames.size(); first += kBurst) {
    void* plain[kBurst];
    unsigned count = 0;
    for (PortFrame* frame : frames.subspan(first, std::min(kBurst, frames.size() - first))) {
      rte_mbuf* mbuf = mbuf_of(frame);
      if (mbuf->pool == pool_ && is_own(mbuf) && mbuf->nb_segs == 1) {
        plain[count++] = mbuf;
      } else {
        rte_pktmbuf_free(mbuf);
      }
    }
    if (count != 0) rte_mempool_put_bulk(pool_, plain, count);
  }
}

}  // namespace xnic::nic
