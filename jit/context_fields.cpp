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

// Every one of them has four bytes in the context.
constexpr uint32_t kContextSize = 4;

struct Row {
  size_t context_offset;
  PlainField field;
};

template <class Member>
PlainField member(const vm::Packet& packet, const Member& it, bool writable = false) {
  return {offset_in(packet, it), sizeof(it), writable};
}

// The address that the Packet keeps, not its low half.
PlainField pointer(uint32_t offset) { return {static_cast<int32_t>(offset), 8, false}; }

auto xdp_rows() {
  const vm::Packet p;
  const vm::Packet::PointerOffsets& pointers = Layout::get().pointers;
  return std::array{
      Row{offsetof(xdp_md, data), pointer(pointers.data)},
      Row{offsetof(xdp_md, data_end), pointer(pointers.data_end)},
      Row{offsetof(xdp_md, data_meta), pointer(pointers.data_meta)},
      Row{offsetof(xdp_md, ingress_ifindex), member(p, p.ingress_ifindex)},
      Row{offsetof(xdp_md, rx_queue_index), member(p, p.rx_queue_index)},
  };
}

auto skb_rows() {
  const vm::Packet p;
  const vm::Packet::PointerOffsets& pointers = Layout::get().pointers;
  constexpr bool kWritable = true;
  return std::array{
      Row{offsetof(__sk_buff, data), pointer(pointers.data)},
      Row{offsetof(__sk_buff, data_end), pointer(pointers.data_end)},
      Row{offsetof(__sk_buff, data_meta), pointer(pointers.data_meta)},
      Row{offsetof(__sk_buff, pkt_type), member(p, p.skb.pkt_type)},
      Row{offsetof(__sk_buff, mark), member(p, p.skb.mark, kWritable)},
      Row{offsetof(__sk_buff, queue_mapping), member(p, p.skb.queue_mapping)},
      Row{offsetof(__sk_buff, protocol), member(p, p.skb.protocol)},
      Row{offsetof(__sk_buff, vlan_tci), member(p, p.skb.vlan_tci)},
      Row{offsetof(__sk_buff, vlan_proto), member(p, p.skb.vlan_proto)},
      Row{offsetof(__sk_buff, priority), member(p, p.skb.priority, kWritable)},
      Row{offsetof(__sk_buff, ingress_ifindex), member(p, p.ingress_ifindex)},
      Row{offsetof(__sk_buff, ifindex), member(p, p.ifindex)},
      Row{offsetof(__sk_buff, tc_index), member(p, p.skb.tc_index)},
      Row{offsetof(__sk_buff, cb[0]), member(p, p.skb.cb[0], kWritable)},
      Row{offsetof(__sk_buff, cb[1]), member(p, p.skb.cb[1], kWritable)},
      Row{offsetof(__sk_buff, cb[2]), member(p, p.skb.cb[2], kWritable)},
      Row{offsetof(__sk_buff, cb[3]), member(p, p.skb.cb[3], kWritable)},
      Row{offsetof(__sk_buff, cb[4]), member(p, p.skb.cb[4], kWritable)},
      Row{offsetof(__sk_buff, hash), member(p, p.skb.hash)},
      Row{offsetof(__sk_buff, napi_id), member(p, p.skb.napi_id)},
  };
}

template <class Rows>
std::optional<PlainField> find(const Rows& rows, uint32_t offset) {
  for (const Row& row : rows) {
    if (row.context_offset == offset) return row.field;
  }
  return std::nullopt;
}

}  // namespace

std::optional<PlainField> plain_field(bpf_prog_type type, uint32_t offset, uint32_t size) {
  if (size != kContextSize) return std::nullopt;
  static const auto kXdpRows = xdp_rows();
  static const auto kSkbRows = skb_rows();
  switch (type) {
    case BPF_PROG_TYPE_XDP:
      return find(kXdpRows, offset);
    case BPF_PROG_TYPE_SCHED_CLS:
    case BPF_PROG_TYPE_SCHED_ACT:
      return find(kSkbRows, offset);
    default:
      return std::nullopt;
  }
}

}  // namespace xnic::jit
