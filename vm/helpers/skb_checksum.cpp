// Helpers that keep checksums right: those in headers, and what is known of the packet's own
// (SkbFields::checksum_state). Test: tests/bpf/skb_checksum and
// tests/differential/skb_script_test.cpp, compared with Linux.
#include <cerrno>
#include <cstring>

#include "vm/checksum.h"
#include "vm/helpers/rows.h"
#include "vm/helpers/skb_room.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint8_t kMaxChecksumLevel = 3;  // SKB_MAX_CSUM_LEVEL
constexpr uint16_t kMangledZero = 0xffff;

// A checksum at an even offset within the first 64 KiB; null where there is none to be written.
uint8_t* checksum_at(Packet& packet, uint32_t offset) {
  if (offset > UINT16_MAX || offset % 2 != 0) return nullptr;
  return packet.ensure_linear(offset + 2) ? packet.data() + offset : nullptr;
}

uint64_t l3_csum_replace(Invocation& run, uint64_t, uint64_t offset, uint64_t from, uint64_t to,
                         uint64_t flags) {
  if ((flags & ~uint64_t{BPF_F_HDR_FIELD_MASK}) != 0) return result(-EINVAL);
  uint8_t* place = checksum_at(run.packet, static_cast<uint32_t>(offset));
  if (place == nullptr) return result(-EFAULT);
  uint16_t checksum;
  std::memcpy(&checksum, place, sizeof checksum);
  switch (flags) {
    case 0:
      if (from != 0) return result(-EINVAL);
      checksum = checksum_after(checksum, static_cast<uint32_t>(to));
      break;
    case 2:
      checksum =
          checksum_after_16_bits(checksum, static_cast<uint16_t>(from), static_cast<uint16_t>(to));
      break;
    case 4:
      checksum = checksum_after(checksum, static_cast<uint32_t>(from), static_cast<uint32_t>(to));
      break;
    default:
      return result(-EINVAL);
  }
  std::memcpy(place, &checksum, sizeof checksum);
  return 0;
}

uint64_t l4_csum_replace(Invocation& run, uint64_t, uint64_t offset, uint64_t from, uint64_t to,
                         uint64_t flags) {
  constexpr uint64_t kKnown = BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_PSEUDO_HDR |
                              BPF_F_HDR_FIELD_MASK | uapi::kIpv6Checksum;
  if ((flags & ~kKnown) != 0) return result(-EINVAL);
  Packet& packet = run.packet;
  uint8_t* place = checksum_at(packet, static_cast<uint32_t>(offset));
  if (place == nullptr) return result(-EFAULT);
  uint16_t checksum;
  std::memcpy(&checksum, place, sizeof checksum);
  // UDP over IPv4: 0 says that there is none, and is sent as its other form.
  const bool zero_is_none = (flags & BPF_F_MARK_MANGLED_0) != 0;
  if (zero_is_none && (flags & BPF_F_MARK_ENFORCE) == 0 && checksum == 0) return 0;

  // The field counts in the packet's own sum through the pseudo header alone.
  uint32_t& sum = packet.skb.checksum;
  const bool sums =
      packet.skb.checksum_state == ChecksumState::complete && (flags & BPF_F_PSEUDO_HDR) != 0;
  const uint64_t width = flags & BPF_F_HDR_FIELD_MASK;
  if (width == 0) {
    if (from != 0) return result(-EINVAL);
    const auto difference = static_cast<uint32_t>(to);
    checksum = checksum_after(checksum, difference);
    // Of IPv6, whose addresses have no checksum of their own to balance them, nothing.
    if (sums && (flags & uapi::kIpv6Checksum) == 0) sum = ~sum_subtract(difference, sum);
  } else if (width == 2 || width == 4) {
    const uint32_t mask = width == 2 ? UINT16_MAX : UINT32_MAX;
    const uint32_t old_field = static_cast<uint32_t>(from) & mask;
    const uint32_t new_field = static_cast<uint32_t>(to) & mask;
    checksum = checksum_after(checksum, old_field, new_field);
    if (sums) sum = ~sum_add(sum_subtract(~sum, old_field), new_field);
  } else {
    return result(-EINVAL);
  }
  if (zero_is_none && checksum == 0) checksum = kMangledZero;
  std::memcpy(place, &checksum, sizeof checksum);
  return 0;
}

// As Linux has it from 6.13 on: folded, and of any size.
uint64_t csum_diff(Invocation&, uint64_t from, uint64_t from_size, uint64_t to, uint64_t to_size,
                   uint64_t seed) {
  const auto removed = bytes_at(from, static_cast<uint32_t>(from_size));
  const auto added = bytes_at(to, static_cast<uint32_t>(to_size));
  const auto start = static_cast<uint32_t>(seed);
  if (removed.empty()) return sum_in_16_bits(sum_of(added, start));
  if (added.empty()) return sum_in_16_bits(~sum_of(removed, ~start));
  return sum_in_16_bits(sum_subtract(sum_of(added, start), sum_of(removed)));
}

uint64_t csum_update(Invocation& run, uint64_t, uint64_t sum, uint64_t, uint64_t, uint64_t) {
  SkbFields& skb = run.packet.skb;
  if (skb.checksum_state != ChecksumState::complete) return result(-kNotSupported);
  skb.checksum = sum_add(skb.checksum, static_cast<uint32_t>(sum));
  return skb.checksum;
}

uint64_t csum_level(Invocation& run, uint64_t, uint64_t level, uint64_t, uint64_t, uint64_t) {
  SkbFields& skb = run.packet.skb;
  const bool verified = skb.checksum_state == ChecksumState::unnecessary;
  switch (level) {
    case BPF_CSUM_LEVEL_QUERY:
      return verified ? skb.checksum_level : result(-EACCES);
    case BPF_CSUM_LEVEL_INC:
      if (verified && skb.checksum_level < kMaxChecksumLevel) ++skb.checksum_level;
      if (skb.checksum_state == ChecksumState::none) {
        skb.checksum_state = ChecksumState::unnecessary;
        skb.checksum_level = 0;
      }
      return 0;
    case BPF_CSUM_LEVEL_DEC:
      if (!verified) return 0;
      if (skb.checksum_level == 0) {
        skb.checksum_state = ChecksumState::none;
      } else {
        --skb.checksum_level;
      }
      return 0;
    case BPF_CSUM_LEVEL_RESET:
      if (verified) skb.checksum_state = ChecksumState::none;
      return 0;
    default:
      return result(-EINVAL);
  }
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(l3_csum_replace, kTc | kLwtXmit, R::integer,
                {A::context, A::any, A::any, A::any, A::any}, l3_csum_replace, kAnyLicense,
                kChangesPacket),
    XNIC_HELPER(l4_csum_replace, kTc | kLwtXmit, R::integer,
                {A::context, A::any, A::any, A::any, A::any}, l4_csum_replace, kAnyLicense,
                kChangesPacket),
    XNIC_HELPER(
        csum_diff, kXdp | kTc | kLwt, R::integer,
        {A::memory_read_or_null, A::size_or_zero, A::memory_read_or_null, A::size_or_zero, A::any},
        csum_diff),
    XNIC_HELPER(csum_update, kTc | kLwtXmit, R::integer, {A::context, A::any}, csum_update),
    XNIC_HELPER(csum_level, kTc | kLwtXmit, R::integer, {A::context, A::any}, csum_level),
};

}  // namespace

std::span<const Helper> skb_checksum_helpers() { return kRows; }

}  // namespace xnic::vm
