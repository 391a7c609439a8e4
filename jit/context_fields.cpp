// The fields of contexts that are kept in the Packet as programs see them. The answers of all
// others, and of accesses to parts, stay with vm/program_type.cpp.
// Test: tests/jit/context_test.cpp holds every field against vm::ProgramType.
#include "jit/context_fields.h"

#include <array>
#include <cstddef>

#include "jit/layout.h"
#include "vm/packet.h"

namespace xnic::jit {
namespace {

struct Row {
  uint32_t context_offset;
  uint32_t context_size;
  PlainField field;
};

template <class Member>
uint32_t place_of(const vm::Packet& packet, const Member& member) {
  return static_cast<uint32_t>(reinterpret_cast<const char*>(&member) -
                               reinterpret_cast<const char*>(&packet));
}

auto xdp_rows() {
  const vm::Packet p;
  const Layout& layout = Layout::get();
  return std::array{
      Row{offsetof(xdp_md, data), 4, {layout.pointers.data, 8, false}},
      Row{offsetof(xdp_md, data_end), 4, {layout.pointers.data_end, 8, false}},
      Row{offsetof(xdp_md, data_meta), 4, {layout.pointers.data_meta, 8, false}},
      Row{offsetof(xdp_md, ingress_ifindex), 4, {place_of(p, p.ingress_ifindex), 4, false}},
      Row{offsetof(xdp_md, rx_queue_index), 4, {place_of(p, p.rx_queue_index), 4, false}},
  };
}

auto skb_rows() {
  const vm::Packet p;
  const Layout& layout = Layout::get();
  const auto read_only = [&](size_t offset, uint32_t size, const auto& member) {
    return Row{static_cast<uint32_t>(offset),
               size,
               {place_of(p, member), static_cast<uint32_t>(sizeof(member)), false}};
  };
  const auto word = [&](size_t offset, const uint32_t& member) {
    return Row{static_cast<uint32_t>(offset), 4, {place_of(p, member), 4, true}};
  };
  return std::array{
      Row{offsetof(__sk_buff, data), 4, {layout.pointers.data, 8, false}},
      Row{offsetof(__sk_buff, data_end), 4, {layout.pointers.data_end, 8, false}},
      Row{offsetof(__sk_buff, data_meta), 4, {layout.pointers.data_meta, 8, false}},
      read_only(offsetof(__sk_buff, pkt_type), 4, p.skb.pkt_type),
      word(offsetof(__sk_buff, mark), p.skb.mark),
      read_only(offsetof(__sk_buff, queue_mapping), 4, p.skb.queue_mapping),
      read_only(offsetof(__sk_buff, protocol), 4, p.skb.protocol),
      read_only(offsetof(__sk_buff, vlan_tci), 4, p.skb.vlan_tci),
      read_only(offsetof(__sk_buff, vlan_proto), 4, p.skb.vlan_proto),
      word(offsetof(__sk_buff, priority), p.skb.priority),
      read_only(offsetof(__sk_buff, ingress_ifindex), 4, p.ingress_ifindex),
      read_only(offsetof(__sk_buff, ifindex), 4, p.ifindex),
      read_only(offsetof(__sk_buff, tc_index), 4, p.skb.tc_index),
      word(offsetof(__sk_buff, cb[0]), p.skb.cb[0]),
      word(offsetof(__sk_buff, cb[1]), p.skb.cb[1]),
      word(offsetof(__sk_buff, cb[2]), p.skb.cb[2]),
      word(offsetof(__sk_buff, cb[3]), p.skb.cb[3]),
      word(offsetof(__sk_buff, cb[4]), p.skb.cb[4]),
      read_only(offsetof(__sk_buff, hash), 4, p.skb.hash),
      read_only(offsetof(__sk_buff, napi_id), 4, p.skb.napi_id),
  };
}

template <class Rows>
std::optional<PlainField> find(const Rows& rows, uint32_t offset, uint32_t size) {
  for (const Row& row : rows) {
    if (row.context_offset == offset && row.context_size == size) return row.field;
  }
  return std::nullopt;
}

}  // namespace

std::optional<PlainField> plain_field(bpf_prog_type type, uint32_t offset, uint32_t size) {
  static const auto kXdpRows = xdp_rows();
  static const auto kSkbRows = skb_rows();
  switch (type) {
    case BPF_PROG_TYPE_XDP:
      return find(kXdpRows, offset, size);
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
      return find(kSkbRows, offset, size);
    default:
      return std::nullopt;
  }
}

}  // namespace xnic::jit
