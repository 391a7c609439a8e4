// Helpers that ask the machine's network (vm/network.h): the way to an address, the longest packet
// of an interface.
// What it leaves out: VRFs, routes through tunnels, and of a packet that offloads would cut
// (gso_size) whether its parts fit.
// Test: tests/sim/network_test.cpp, against namespaces of the real kernel; tests/bpf/check_mtu.
#include "vm/network.h"

#include <linux/bpf.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "vm/helpers/rows.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kVlanHeader = 4;

// struct bpf_fib_lookup with the names that it has since Linux 6.10.
struct FibLookup {
  uint8_t family;
  uint8_t l4_protocol;
  uint16_t sport;
  uint16_t dport;
  uint16_t tot_len;  // out: mtu_result
  uint32_t ifindex;
  uint32_t tos;  // of IPv6 flowinfo; out: rt_metric
  uint32_t source[4];
  uint32_t destination[4];
  uint32_t table;  // out: h_vlan_proto and h_vlan_TCI
  uint8_t smac[6];
  uint8_t dmac[6];
};
static_assert(sizeof(FibLookup) == sizeof(bpf_fib_lookup));
static_assert(offsetof(FibLookup, destination) == offsetof(bpf_fib_lookup, ipv4_dst));
static_assert(offsetof(FibLookup, dmac) == offsetof(bpf_fib_lookup, dmac));

// Multicast, link-local and loopback addresses are never forwarded.
bool is_local_matter(const IpAddress& address) {
  const auto& b = address.bytes;
  const bool link_local = b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
  return b[0] == 0xff || link_local || address == *IpAddress::parse("::1");
}

int answer_to(Route::Type type) {
  switch (type) {
    case Route::Type::blackhole:
      return BPF_FIB_LKUP_RET_BLACKHOLE;
    case Route::Type::unreachable:
      return BPF_FIB_LKUP_RET_UNREACHABLE;
    case Route::Type::prohibit:
      return BPF_FIB_LKUP_RET_PROHIBIT;
    case Route::Type::unicast:
      return BPF_FIB_LKUP_RET_SUCCESS;
    default:
      return BPF_FIB_LKUP_RET_NOT_FWDED;
  }
}

void put_address(uint32_t (&to)[4], const IpAddress& address) {
  std::memcpy(to, address.bytes.data(), address.v6 ? 16 : 4);
}

// Where the next hop is a neighbour, its addresses; the VLAN fields have none.
int finish(const Network& network, FibLookup& p, uint64_t flags, const IpAddress& next,
           uint32_t mtu) {
  if ((flags & uapi::kFibSkipNeighbour) == 0) {
    const Neighbour* neighbour = network.neighbour(p.ifindex, next);
    if (neighbour == nullptr) return BPF_FIB_LKUP_RET_NO_NEIGH;
    std::memcpy(p.dmac, neighbour->mac.data(), sizeof(p.dmac));
    std::memcpy(p.smac, network.by_index(p.ifindex)->mac.data(), sizeof(p.smac));
  }
  p.table = 0;
  if (mtu != 0) p.tot_len = static_cast<uint16_t>(mtu);
  return BPF_FIB_LKUP_RET_SUCCESS;
}

int look_up(const Network& network, FibLookup& p, uint64_t flags, bool checks_mtu) {
  const bool v6 = p.family == AF_INET6;
  const auto address = [v6](const uint32_t(&bytes)[4]) {
    return v6 ? IpAddress::v6_at(bytes) : IpAddress::v4_at(bytes);
  };
  const IpAddress destination = address(p.destination);
  if (v6 && (is_local_matter(destination) || is_local_matter(address(p.source)))) {
    return BPF_FIB_LKUP_RET_NOT_FWDED;
  }
  const Interface* device = network.by_index(p.ifindex);
  if (device == nullptr) return -ENODEV;
  if (!(v6 ? device->forwards_v6 : device->forwards_v4)) return BPF_FIB_LKUP_RET_FWD_DISABLED;

  constexpr uint32_t kDscpMask = 0xfc;
  Network::Flow flow{.destination = destination,
                     .tos = v6 ? uint8_t{0} : static_cast<uint8_t>(p.tos & kDscpMask)};
  if ((flags & BPF_FIB_LOOKUP_OUTPUT) != 0) flow.out = p.ifindex;
  if ((flags & BPF_FIB_LOOKUP_DIRECT) != 0) {
    constexpr uint32_t kMainTable = 254;
    flow.table = kMainTable;
    if ((flags & uapi::kFibTable) != 0) {
      if (p.table != 0) flow.table = p.table;
      p.table = 0;
    }
  }
  const Network::Way way = network.way_of(flow);
  if (way.route == nullptr) return BPF_FIB_LKUP_RET_NOT_FWDED;
  if (const int answer = answer_to(way.route->type); answer != 0) return answer;
  uint32_t mtu = 0;
  if (checks_mtu) {
    mtu = network.mtu_of(way);
    if (p.tot_len > mtu) {
      p.tot_len = static_cast<uint16_t>(mtu);
      return BPF_FIB_LKUP_RET_FRAG_NEEDED;
    }
  }
  p.tos = way.route->metric;
  p.ifindex = way.hop->ifindex;
  // Of IPv6, the source comes after the gateway has taken the destination's place.
  if ((flags & uapi::kFibSource) != 0 && !v6) {
    const auto source = network.source_of(way, destination);
    p.source[0] = 0;
    if (source) put_address(p.source, *source);
  }
  IpAddress next = destination;
  if (way.hop->gateway) {
    next = *way.hop->gateway;
    if (next.v6) p.family = AF_INET6;
    put_address(p.destination, next);
  }
  if ((flags & uapi::kFibSource) != 0 && v6) {
    const auto source = network.source_of(way, destination);
    if (!source) return uapi::kFibNoSource;
    put_address(p.source, *source);
  }
  return finish(network, p, flags, next, mtu);
}

// What both forms begin with: 0, or the answer.
int check_lookup(uint64_t size, uint64_t flags) {
  constexpr uint64_t kKnown = BPF_FIB_LOOKUP_DIRECT | BPF_FIB_LOOKUP_OUTPUT |
                              uapi::kFibSkipNeighbour | uapi::kFibTable | uapi::kFibSource |
                              uapi::kFibMark;
  const bool too_short = static_cast<int32_t>(size) < static_cast<int32_t>(sizeof(FibLookup));
  return too_short || (static_cast<uint32_t>(flags) & ~kKnown) != 0 ? -EINVAL : 0;
}

bool is_ip(const FibLookup& p) { return p.family == AF_INET || p.family == AF_INET6; }

// The parameters may lie at any address.
class Parameters {
 public:
  explicit Parameters(uint64_t address) : address_(address) {
    std::memcpy(&value, bytes_at(address), sizeof(value));
  }
  ~Parameters() { std::memcpy(memory_at(address_), &value, sizeof(value)); }
  Parameters(const Parameters&) = delete;
  Parameters& operator=(const Parameters&) = delete;

  FibLookup value;

 private:
  uint64_t address_;
};

uint64_t xdp_fib_lookup(Invocation& run, uint64_t, uint64_t params, uint64_t size, uint64_t flags,
                        uint64_t) {
  if (const int error = check_lookup(size, flags); error != 0) return result(error);
  Parameters p(params);
  if (!is_ip(p.value)) return result(-EAFNOSUPPORT);
  return result(look_up(*run.environment.network, p.value, flags, true));
}

// Without a length given, it is the packet that has to fit.
uint64_t tc_fib_lookup(Invocation& run, uint64_t, uint64_t params, uint64_t size, uint64_t flags,
                       uint64_t) {
  if (const int error = check_lookup(size, flags); error != 0) return result(error);
  const Network& network = *run.environment.network;
  Parameters p(params);
  if (!is_ip(p.value)) return result(-EAFNOSUPPORT);
  const bool has_length = p.value.tot_len != 0;
  int answer = look_up(network, p.value, flags, has_length);
  if (answer != BPF_FIB_LKUP_RET_SUCCESS || has_length) return result(answer);
  const Interface& out = *network.by_index(p.value.ifindex);
  const bool fits = run.packet.length() <= out.mtu + kEthernetHeader + kVlanHeader ||
                    run.packet.skb.gso_size != 0;
  if (!out.up || !fits) answer = BPF_FIB_LKUP_RET_FRAG_NEEDED;
  p.value.tot_len = static_cast<uint16_t>(out.mtu);
  return result(answer);
}

// An interface by its index, 0 being the one where the packet is.
const Interface* device_at(const Invocation& run, uint64_t ifindex) {
  const auto index = static_cast<uint32_t>(ifindex);
  return run.environment.network->by_index(index != 0 ? index : run.packet.ifindex);
}

// Compares as Linux does, in 32 bits with a sign. `length` is the packet's, unless the program
// gives that of the network layer in `mtu_len`.
bool exceeds(const Interface& device, uint32_t mtu_len, uint32_t length, uint64_t difference) {
  const uint32_t whole = mtu_len != 0 ? mtu_len + kEthernetHeader : length;
  return static_cast<int32_t>(whole + static_cast<uint32_t>(difference)) >
         static_cast<int32_t>(device.mtu + kEthernetHeader);
}

uint64_t xdp_check_mtu(Invocation& run, uint64_t, uint64_t ifindex, uint64_t mtu_len,
                       uint64_t difference, uint64_t flags) {
  if (flags != 0) return result(-EINVAL);
  const Interface* device = device_at(run, ifindex);
  if (device == nullptr) return result(-ENODEV);
  uint32_t asked = 0;
  std::memcpy(&asked, bytes_at(mtu_len), sizeof(asked));
  const bool too_long = exceeds(*device, asked, run.packet.linear_length(), difference);
  std::memcpy(memory_at(mtu_len), &device->mtu, sizeof(device->mtu));
  return too_long ? BPF_MTU_CHK_RET_FRAG_NEEDED : BPF_MTU_CHK_RET_SUCCESS;
}

uint64_t tc_check_mtu(Invocation& run, uint64_t, uint64_t ifindex, uint64_t mtu_len,
                      uint64_t difference, uint64_t flags) {
  uint32_t asked = 0;
  std::memcpy(&asked, bytes_at(mtu_len), sizeof(asked));
  if ((flags & ~uint64_t{BPF_MTU_CHK_SEGS}) != 0) return result(-EINVAL);
  const bool segments = (flags & BPF_MTU_CHK_SEGS) != 0;
  if (segments && (static_cast<int32_t>(difference) != 0 || asked != 0)) return result(-EINVAL);
  const Interface* device = device_at(run, ifindex);
  if (device == nullptr) return result(-ENODEV);
  bool too_long = exceeds(*device, asked, run.packet.length(), difference);
  // Whoever sends it on cuts it.
  if (too_long && run.packet.skb.gso_size != 0) too_long = false;
  std::memcpy(memory_at(mtu_len), &device->mtu, sizeof(device->mtu));
  return too_long ? BPF_MTU_CHK_RET_FRAG_NEEDED : BPF_MTU_CHK_RET_SUCCESS;
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(fib_lookup, kXdp, R::integer, {A::context, A::memory_write, A::size, A::any},
                xdp_fib_lookup, kGplOnly),
    XNIC_HELPER(fib_lookup, kTc, R::integer, {A::context, A::memory_write, A::size, A::any},
                tc_fib_lookup, kGplOnly),
    XNIC_HELPER(check_mtu, kXdp, R::integer, {A::context, A::any, A::u32_in_out, A::any, A::any},
                xdp_check_mtu, kGplOnly),
    XNIC_HELPER(check_mtu, kTc, R::integer, {A::context, A::any, A::u32_in_out, A::any, A::any},
                tc_check_mtu, kGplOnly),
};

}  // namespace

std::span<const Helper> network_helpers() { return kRows; }

}  // namespace xnic::vm
