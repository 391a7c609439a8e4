// What a NIC tells XDP programs of a packet beside its bytes. The answers are those of a driver
// that implements all three: -ENODATA for what the NIC did not find out about this packet. Left
// out: -EOPNOTSUPP of drivers that lack one.
// Test: tests/vm/kfunc_test.cpp, which also asks the kernel over veth.
#include <array>
#include <cerrno>
#include <cstring>

#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

template <class T>
void put(uint64_t address, T value) {
  std::memcpy(memory_at(address), &value, sizeof value);
}

// bpf_xdp_metadata_rx_timestamp(context, u64* nanoseconds).
uint64_t rx_timestamp(Invocation& run, uint64_t, uint64_t to, uint64_t, uint64_t, uint64_t) {
  if (!run.packet.rx_timestamp_ns) return int_result(-ENODATA);
  put(to, *run.packet.rx_timestamp_ns);
  return 0;
}

// bpf_xdp_metadata_rx_hash(context, u32* hash, enum xdp_rss_hash_type* type).
uint64_t rx_hash(Invocation& run, uint64_t, uint64_t hash, uint64_t type, uint64_t, uint64_t) {
  put(hash, run.packet.rx_hash);
  put(type, run.packet.rx_hash_type);
  return 0;
}

// bpf_xdp_metadata_rx_vlan_tag(context, __be16* protocol, u16* tci).
uint64_t rx_vlan_tag(Invocation& run, uint64_t, uint64_t protocol, uint64_t tci, uint64_t,
                     uint64_t) {
  const std::optional<VlanTag>& tag = run.packet.rx_vlan;
  if (!tag) {
    put(tci, uint16_t{0});
    return int_result(-ENODATA);
  }
  put(protocol, tag->protocol);
  put(tci, tag->tci);
  return 0;
}

using A = Argument;
using R = Returns;
constexpr bool kNeedsDevice = true;
constexpr std::array kRows = {
    Kfunc{kfunc_row("bpf_xdp_metadata_rx_timestamp", kXdp, R::integer, {A::context, A::bytes_8},
                    rx_timestamp),
          kNeedsDevice},
    Kfunc{kfunc_row("bpf_xdp_metadata_rx_hash", kXdp, R::integer,
                    {A::context, A::bytes_4, A::bytes_4}, rx_hash),
          kNeedsDevice},
    Kfunc{kfunc_row("bpf_xdp_metadata_rx_vlan_tag", kXdp, R::integer,
                    {A::context, A::bytes_2, A::bytes_2}, rx_vlan_tag),
          kNeedsDevice},
};

}  // namespace

std::span<const Kfunc> xdp_metadata_kfuncs() { return kRows; }

}  // namespace xnic::vm
