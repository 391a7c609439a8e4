#pragma once

#include <cstdint>
#include <span>

#include "vm/checksum.h"
#include "vm/packet.h"

// What the helpers that change an sk_buff's size share.
namespace xnic::vm {

inline constexpr uint32_t kMaxSkbLength = 4 * 4096 - kSharedInfoSize;  // SKB_MAX_ALLOC
inline constexpr int kNotSupported = 524;                              // the kernel's ENOTSUPP

// Bytes leave the packet, and with them the sum of its bytes. The negation is two's complement, as
// Linux has it, which shows in the sum's unfolded form.
inline void remove_from_sum(Packet& packet, std::span<const uint8_t> bytes) {
  if (packet.skb.checksum_state != ChecksumState::complete) return;
  packet.skb.checksum = 0 - sum_of(bytes, 0 - packet.skb.checksum);
}

}  // namespace xnic::vm
