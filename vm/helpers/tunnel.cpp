// The tunnel of a packet at tc: where a tunnel device would send it, and with which key. What is
// set can be read back, ends exchanged as Linux has them. What it leaves out: tunnel devices, so no
// packet comes with a tunnel, and xfrm states. Test: tests/bpf/tunnel, compared with Linux by
// tests/differential.
#include <linux/bpf.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "vm/helpers/rows.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

// Flags of a tunnel as programs see them, in network byte order.
constexpr uint16_t kCsum = 1 << 0;
constexpr uint16_t kKey = 1 << 2;
constexpr uint16_t kSequence = 1 << 3;
constexpr uint16_t kDontFragment = 1 << 8;
constexpr uint16_t kNoCache = 1 << 13;
constexpr uint16_t kHasOptions = 1 << 11 | 1 << 12 | 1 << 14 | 1 << 15;
constexpr uint32_t kMaxOptions = 255;
constexpr uint32_t kFlowLabelMask = 0xfffff;

// Older programs know a shorter struct bpf_tunnel_key.
bool is_known_size(uint64_t size) {
  return size == sizeof(bpf_tunnel_key) || size == offsetof(bpf_tunnel_key, local_ipv6[0]) ||
         size == offsetof(bpf_tunnel_key, tunnel_label) ||
         size == offsetof(bpf_tunnel_key, tunnel_ext) ||
         size == offsetof(bpf_tunnel_key, remote_ipv6[1]);
}

uint64_t refuse(uint64_t to, uint64_t size, int error) {
  std::memset(memory_at(to), 0, size);
  return result(error);
}

uint64_t skb_set_tunnel_key(Invocation& run, uint64_t, uint64_t from, uint64_t size, uint64_t flags,
                            uint64_t) {
  constexpr uint64_t kKnown = uint64_t{BPF_F_TUNINFO_IPV6} | BPF_F_ZERO_CSUM_TX |
                              BPF_F_DONT_FRAGMENT | BPF_F_SEQ_NUMBER | uapi::kNoTunnelKey;
  if ((flags & ~kKnown) != 0 || !is_known_size(size)) return result(-EINVAL);
  bpf_tunnel_key key{};
  std::memcpy(&key, bytes_at(from), size);
  const bool v6 = (flags & BPF_F_TUNINFO_IPV6) != 0;
  if ((!v6 && key.tunnel_label != 0) || key.tunnel_ext != 0) return result(-EINVAL);

  Tunnel tunnel{.set = true, .v6 = v6};
  tunnel.flags = kNoCache;
  if ((flags & BPF_F_DONT_FRAGMENT) != 0) tunnel.flags |= kDontFragment;
  if ((flags & BPF_F_ZERO_CSUM_TX) == 0) tunnel.flags |= kCsum;
  if ((flags & BPF_F_SEQ_NUMBER) != 0) tunnel.flags |= kSequence;
  if ((flags & uapi::kNoTunnelKey) == 0) tunnel.flags |= kKey;
  tunnel.id = key.tunnel_id;
  tunnel.tos = key.tunnel_tos;
  tunnel.ttl = key.tunnel_ttl;
  std::memcpy(tunnel.destination.data(), key.remote_ipv6, v6 ? 16 : 4);
  std::memcpy(tunnel.source.data(), key.local_ipv6, v6 ? 16 : 4);
  if (v6) tunnel.label = key.tunnel_label & kFlowLabelMask;
  run.packet.skb.tunnel = std::move(tunnel);
  return 0;
}

uint64_t skb_get_tunnel_key(Invocation& run, uint64_t, uint64_t to, uint64_t size, uint64_t flags,
                            uint64_t) {
  const Tunnel& tunnel = run.packet.skb.tunnel;
  const bool v6 = (flags & BPF_F_TUNINFO_IPV6) != 0;
  const bool wants_flags = (flags & uapi::kTunnelFlags) != 0;
  if (!tunnel.set || (flags & ~uint64_t{BPF_F_TUNINFO_IPV6 | uapi::kTunnelFlags}) != 0) {
    return refuse(to, size, -EINVAL);
  }
  if (tunnel.v6 != v6) return refuse(to, size, -EPROTO);
  if (!is_known_size(size)) return refuse(to, size, -EINVAL);
  if (size == offsetof(bpf_tunnel_key, remote_ipv6[1]) && v6) return refuse(to, size, -EINVAL);
  bpf_tunnel_key key{};
  key.tunnel_id = tunnel.id;
  key.tunnel_tos = tunnel.tos;
  key.tunnel_ttl = tunnel.ttl;
  if (wants_flags) key.tunnel_ext = __builtin_bswap16(tunnel.flags);  // a union with the flags
  std::memcpy(key.remote_ipv6, tunnel.source.data(), v6 ? 16 : 4);
  std::memcpy(key.local_ipv6, tunnel.destination.data(), v6 ? 16 : 4);
  key.tunnel_label = tunnel.label;
  std::memcpy(memory_at(to), &key, size);
  return 0;
}

uint64_t skb_set_tunnel_opt(Invocation& run, uint64_t, uint64_t from, uint64_t size, uint64_t,
                            uint64_t) {
  Tunnel& tunnel = run.packet.skb.tunnel;
  if (!tunnel.set || size % sizeof(uint32_t) != 0) return result(-EINVAL);
  if (size > kMaxOptions) return result(-ENOMEM);
  tunnel.options.assign(bytes_at(from), bytes_at(from) + size);
  tunnel.flags |= kHasOptions;
  return 0;
}

uint64_t skb_get_tunnel_opt(Invocation& run, uint64_t, uint64_t to, uint64_t size, uint64_t,
                            uint64_t) {
  const Tunnel& tunnel = run.packet.skb.tunnel;
  if (!tunnel.set || (tunnel.flags & kHasOptions) == 0) return refuse(to, size, -ENOENT);
  if (size < tunnel.options.size()) return refuse(to, size, -ENOMEM);
  std::memset(memory_at(to), 0, size);
  std::memcpy(memory_at(to), tunnel.options.data(), tunnel.options.size());
  return tunnel.options.size();
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(skb_set_tunnel_key, kTc | kLwtXmit, R::integer,
                {A::context, A::memory_read, A::size, A::any}, skb_set_tunnel_key),
    XNIC_HELPER(skb_get_tunnel_key, kTc | kLwtXmit, R::integer,
                {A::context, A::memory_write, A::size, A::any}, skb_get_tunnel_key),
    XNIC_HELPER(skb_set_tunnel_opt, kTc | kLwtXmit, R::integer,
                {A::context, A::memory_read, A::size}, skb_set_tunnel_opt),
    XNIC_HELPER(skb_get_tunnel_opt, kTc | kLwtXmit, R::integer,
                {A::context, A::memory_write, A::size}, skb_get_tunnel_opt),
};

}  // namespace

std::span<const Helper> tunnel_helpers() { return kRows; }

}  // namespace xnic::vm
