// Helpers that read and write the bytes of an sk_buff where they lie, in the linear area or in
// fragments. Test: tests/bpf/skb_bytes and tests/differential/skb_script_test.cpp, compared with
// Linux; tests/vm/skb_test.cpp for fragments, which BPF_PROG_TEST_RUN does not make.
#include <cerrno>
#include <climits>
#include <cstring>

#include "vm/checksum.h"
#include "vm/helpers/rows.h"

namespace xnic::vm {
namespace {

uint64_t skb_load_bytes(Invocation& run, uint64_t, uint64_t offset, uint64_t to, uint64_t size,
                        uint64_t) {
  const std::span<uint8_t> out{memory_at(to), static_cast<uint32_t>(size)};
  offset = static_cast<uint32_t>(offset);
  if (offset <= INT_MAX && run.packet.read(static_cast<uint32_t>(offset), out)) return 0;
  std::memset(out.data(), 0, out.size());
  return result(-EFAULT);
}

// Reads the linear area alone.
uint64_t skb_load_bytes_relative(Invocation& run, uint64_t, uint64_t offset, uint64_t to,
                                 uint64_t size, uint64_t start_header) {
  const Packet& packet = run.packet;
  const std::span<uint8_t> out{memory_at(to), static_cast<uint32_t>(size)};
  const auto from = static_cast<uint32_t>(offset);
  const auto header = static_cast<uint32_t>(start_header);
  if (from <= UINT16_MAX && header <= BPF_HDR_START_NET) {
    const int64_t start =
        header == BPF_HDR_START_MAC ? packet.mac_offset() : packet.network_offset();
    if (start + from + static_cast<int64_t>(out.size()) <= packet.linear_length()) {
      std::memcpy(out.data(), packet.data() + start + from, out.size());
      return 0;
    }
  }
  std::memset(out.data(), 0, out.size());
  return result(-EFAULT);
}

uint64_t skb_store_bytes(Invocation& run, uint64_t, uint64_t offset, uint64_t from, uint64_t size,
                         uint64_t flags) {
  Packet& packet = run.packet;
  const auto at = static_cast<uint32_t>(offset);
  const auto length = static_cast<uint32_t>(size);
  if ((flags & ~uint64_t{BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH}) != 0) {
    return result(-EINVAL);
  }
  if (at > INT_MAX || !packet.ensure_linear(at + length)) return result(-EFAULT);
  const std::span<uint8_t> place{packet.data() + at, length};
  const bool sums =
      (flags & BPF_F_RECOMPUTE_CSUM) != 0 && packet.skb.checksum_state == ChecksumState::complete;
  uint32_t& sum = packet.skb.checksum;
  if (sums) sum = sum_subtract(sum, sum_at(sum_of(place), at));
  std::memcpy(place.data(), bytes_at(from), length);
  if (sums) sum = sum_add(sum, sum_at(sum_of(place), at));
  if ((flags & BPF_F_INVALIDATE_HASH) != 0) {
    packet.skb.hash = 0;
    packet.skb.hash_is_set = false;
  }
  return 0;
}

uint64_t skb_pull_data(Invocation& run, uint64_t, uint64_t length, uint64_t, uint64_t, uint64_t) {
  return run.packet.ensure_linear(static_cast<uint32_t>(length)) ? 0 : result(-ENOMEM);
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(skb_load_bytes,
                kTc | kSocketFilter | kCgroupSkb | kLwt | kStream | kSkReuseport | kFlowDissector,
                R::integer, {A::context, A::any, A::memory_write, A::size}, skb_load_bytes),
    XNIC_HELPER(skb_load_bytes_relative, kTc | kSocketFilter | kCgroupSkb | kSkReuseport,
                R::integer, {A::context, A::any, A::memory_write, A::size, A::any},
                skb_load_bytes_relative),
    XNIC_HELPER(skb_store_bytes, kTc | kLwtXmit | kStream, R::integer,
                {A::context, A::any, A::memory_read, A::size, A::any}, skb_store_bytes, kAnyLicense,
                kChangesPacket),
    XNIC_HELPER(skb_pull_data, kTc | kLwt | kStream, R::integer, {A::context, A::any},
                skb_pull_data, kAnyLicense, kChangesPacket),
};

}  // namespace

std::span<const Helper> skb_byte_helpers() { return kRows; }

}  // namespace xnic::vm
