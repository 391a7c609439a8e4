// The program types and how their contexts are answered. The rows follow what Linux permits in
// xdp_is_valid_access and tc_cls_act_is_valid_access and what its rewrites read and write.
// Left out: a negative immediate stored to queue_mapping, which Linux takes and this ignores as it
// does the same number from a register; sockets (`sk` reads as NULL, the socket fields are
// refused). Test: tests/vm/program_type_test.cpp, and the kernel
// comparison.
#include "vm/program_type.h"

#include <linux/pkt_cls.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "vm/helper.h"
#include "vm/verified_types.h"

namespace xnic::vm {
namespace {

// Context addresses must not reach into another object.
static_assert(sizeof(Packet) >= sizeof(__sk_buff) && sizeof(Packet) >= sizeof(xdp_md));

constexpr uint32_t kNoQueueMapping = 0xffff;

uint64_t address(const uint8_t* pointer) { return std::bit_cast<uint64_t>(pointer); }

constexpr ContextField pointer_field(std::string_view name, size_t offset, Points points,
                                     uint64_t (*load)(const Packet&)) {
  return {name, static_cast<uint16_t>(offset), 4, false, false, points, load, nullptr};
}

// A field that is read whole or in parts, and written whole where it has a store.
constexpr ContextField field(std::string_view name, size_t offset, uint64_t (*load)(const Packet&),
                             void (*store)(Packet&, uint64_t) = nullptr) {
  return {name, static_cast<uint16_t>(offset), 4, store != nullptr, true, Points::nowhere, load,
          store};
}

constexpr ContextField whole_field(std::string_view name, size_t offset, uint16_t size,
                                   uint64_t (*load)(const Packet&),
                                   void (*store)(Packet&, uint64_t) = nullptr) {
  return {name, static_cast<uint16_t>(offset), size, store != nullptr, false, Points::nowhere, load,
          store};
}

template <size_t I>
constexpr ContextField control_block(std::string_view name) {
  return field(
      name, offsetof(__sk_buff, cb) + 4 * I,
      [](const Packet& p) -> uint64_t { return p.skb.cb[I]; },
      [](Packet& p, uint64_t v) { p.skb.cb[I] = static_cast<uint32_t>(v); });
}
constexpr uint32_t kControlBlock = offsetof(__sk_buff, cb);
constexpr uint32_t kControlBlockEnd = kControlBlock + sizeof(__sk_buff::cb);

constexpr std::array kXdpFields = {
    pointer_field("data", offsetof(xdp_md, data), Points::packet,
                  [](const Packet& p) { return address(p.data()); }),
    pointer_field("data_end", offsetof(xdp_md, data_end), Points::packet_end,
                  [](const Packet& p) { return address(p.data_end()); }),
    pointer_field("data_meta", offsetof(xdp_md, data_meta), Points::packet_meta,
                  [](const Packet& p) { return address(p.data_meta()); }),
    whole_field("ingress_ifindex", offsetof(xdp_md, ingress_ifindex), 4,
                [](const Packet& p) -> uint64_t { return p.ingress_ifindex; }),
    whole_field("rx_queue_index", offsetof(xdp_md, rx_queue_index), 4,
                [](const Packet& p) -> uint64_t { return p.rx_queue_index; }),
    // Of programs for devmap entries alone.
    whole_field("egress_ifindex", offsetof(xdp_md, egress_ifindex), 4,
                [](const Packet& p) -> uint64_t { return p.egress_ifindex; }),
};

constexpr std::array kSkbFields = {
    field("len", offsetof(__sk_buff, len), [](const Packet& p) -> uint64_t { return p.length(); }),
    field("pkt_type", offsetof(__sk_buff, pkt_type),
          [](const Packet& p) -> uint64_t { return p.skb.pkt_type; }),
    field(
        "mark", offsetof(__sk_buff, mark), [](const Packet& p) -> uint64_t { return p.skb.mark; },
        [](Packet& p, uint64_t v) { p.skb.mark = static_cast<uint32_t>(v); }),
    field(
        "queue_mapping", offsetof(__sk_buff, queue_mapping),
        [](const Packet& p) -> uint64_t { return p.skb.queue_mapping; },
        [](Packet& p, uint64_t v) {
          if (static_cast<uint32_t>(v) < kNoQueueMapping) {
            p.skb.queue_mapping = static_cast<uint16_t>(v);
          }
        }),
    field("protocol", offsetof(__sk_buff, protocol),
          [](const Packet& p) -> uint64_t { return p.skb.protocol; }),
    field("vlan_present", offsetof(__sk_buff, vlan_present),
          [](const Packet& p) -> uint64_t { return p.skb.vlan_present ? 1 : 0; }),
    field("vlan_tci", offsetof(__sk_buff, vlan_tci),
          [](const Packet& p) -> uint64_t { return p.skb.vlan_tci; }),
    field("vlan_proto", offsetof(__sk_buff, vlan_proto),
          [](const Packet& p) -> uint64_t { return p.skb.vlan_proto; }),
    field(
        "priority", offsetof(__sk_buff, priority),
        [](const Packet& p) -> uint64_t { return p.skb.priority; },
        [](Packet& p, uint64_t v) { p.skb.priority = static_cast<uint32_t>(v); }),
    field("ingress_ifindex", offsetof(__sk_buff, ingress_ifindex),
          [](const Packet& p) -> uint64_t { return p.ingress_ifindex; }),
    field("ifindex", offsetof(__sk_buff, ifindex),
          [](const Packet& p) -> uint64_t { return p.ifindex; }),
    field(
        "tc_index", offsetof(__sk_buff, tc_index),
        [](const Packet& p) -> uint64_t { return p.skb.tc_index; },
        [](Packet& p, uint64_t v) { p.skb.tc_index = static_cast<uint16_t>(v); }),
    control_block<0>("cb[0]"),
    control_block<1>("cb[1]"),
    control_block<2>("cb[2]"),
    control_block<3>("cb[3]"),
    control_block<4>("cb[4]"),
    field("hash", offsetof(__sk_buff, hash),
          [](const Packet& p) -> uint64_t { return p.skb.hash; }),
    field(
        "tc_classid", offsetof(__sk_buff, tc_classid),
        [](const Packet& p) -> uint64_t { return p.skb.tc_classid; },
        [](Packet& p, uint64_t v) { p.skb.tc_classid = static_cast<uint16_t>(v); }),
    pointer_field("data", offsetof(__sk_buff, data), Points::packet,
                  [](const Packet& p) { return address(p.data()); }),
    pointer_field("data_end", offsetof(__sk_buff, data_end), Points::packet_end,
                  [](const Packet& p) { return address(p.data_end()); }),
    field("napi_id", offsetof(__sk_buff, napi_id),
          [](const Packet& p) -> uint64_t { return p.skb.napi_id; }),
    pointer_field("data_meta", offsetof(__sk_buff, data_meta), Points::packet_meta,
                  [](const Packet& p) { return address(p.data_meta()); }),
    whole_field(
        "tstamp", offsetof(__sk_buff, tstamp), 8,
        [](const Packet& p) -> uint64_t { return p.skb.tstamp; },
        [](Packet& p, uint64_t v) { p.skb.tstamp = v; }),
    field("wire_len", offsetof(__sk_buff, wire_len),
          [](const Packet& p) -> uint64_t { return p.skb.wire_len; }),
    field("gso_segs", offsetof(__sk_buff, gso_segs),
          [](const Packet& p) -> uint64_t { return p.skb.gso_segs; }),
    ContextField{"sk", offsetof(__sk_buff, sk), 8, false, false, Points::socket_common_or_null,
                 [](const Packet&) -> uint64_t { return 0; }, nullptr},
    field("gso_size", offsetof(__sk_buff, gso_size),
          [](const Packet& p) -> uint64_t { return p.skb.gso_size; }),
    whole_field("tstamp_type", offsetof(__sk_buff, hwtstamp) - 4, 1,
                [](const Packet& p) -> uint64_t { return p.skb.tstamp_type; }),
    whole_field("hwtstamp", offsetof(__sk_buff, hwtstamp), 8,
                [](const Packet& p) -> uint64_t { return p.skb.hwtstamp; }),
};

// What sk_filter_is_valid_access leaves of __sk_buff: no packet pointers, and only cb is writable.
constexpr bool is_for_socket_filter(const ContextField& f) {
  constexpr std::array kRefused = {std::string_view("tc_classid"), std::string_view("tstamp"),
                                   std::string_view("wire_len"), std::string_view("hwtstamp"),
                                   std::string_view("tstamp_type")};
  return (!f.is_address() || f.name == "sk") &&
         std::find(kRefused.begin(), kRefused.end(), f.name) == kRefused.end();
}
constexpr size_t kSocketFilterFieldCount =
    std::count_if(kSkbFields.begin(), kSkbFields.end(), is_for_socket_filter);
constexpr auto kSocketFilterFields = [] {
  std::array<ContextField, kSocketFilterFieldCount> fields{};
  std::copy_if(kSkbFields.begin(), kSkbFields.end(), fields.begin(), is_for_socket_filter);
  for (ContextField& f : fields) {
    if (!f.name.starts_with("cb[")) {
      f.writable = false;
      f.store = nullptr;
    }
  }
  return fields;
}();

std::string_view xdp_verdict(uint32_t code) {
  switch (code) {
    case XDP_DROP:
      return "XDP_DROP";
    case XDP_PASS:
      return "XDP_PASS";
    case XDP_TX:
      return "XDP_TX";
    case XDP_REDIRECT:
      return "XDP_REDIRECT";
    default:
      return "XDP_ABORTED";
  }
}

Action xdp_action(uint32_t code) {
  switch (code) {
    case XDP_DROP:
      return Action::drop;
    case XDP_PASS:
      return Action::pass;
    case XDP_TX:
      return Action::tx;
    case XDP_REDIRECT:
      return Action::redirect;
    default:
      return Action::aborted;
  }
}

// Direct action: codes outside the list continue as TC_ACT_UNSPEC, as cls_bpf takes them.
std::string_view tc_verdict(uint32_t code) {
  switch (static_cast<int32_t>(code)) {
    case TC_ACT_OK:
      return "TC_ACT_OK";
    case TC_ACT_SHOT:
      return "TC_ACT_SHOT";
    case TC_ACT_STOLEN:
      return "TC_ACT_STOLEN";
    case TC_ACT_TRAP:
      return "TC_ACT_TRAP";
    case TC_ACT_REDIRECT:
      return "TC_ACT_REDIRECT";
    default:
      return "TC_ACT_UNSPEC";
  }
}

Action tc_action(uint32_t code) {
  switch (static_cast<int32_t>(code)) {
    case TC_ACT_SHOT:
      return Action::drop;
    case TC_ACT_STOLEN:
    case TC_ACT_TRAP:
      return Action::consumed;
    case TC_ACT_REDIRECT:
      return Action::redirect;
    default:
      return Action::pass;
  }
}

// Only where a packet leaves through a devmap is it known where it goes.
bool xdp_has_field(const ContextField& field, uint32_t attach_type, bool) {
  return field.name != "egress_ifindex" || attach_type == BPF_XDP_DEVMAP;
}

// A socket filter's r0 is the number of bytes to keep.
std::string_view socket_filter_verdict(uint32_t code) { return code == 0 ? "DROP" : "KEEP"; }
Action socket_filter_action(uint32_t code) { return code == 0 ? Action::drop : Action::pass; }

constexpr std::array kProgramTypes = {
    // libbpf probes the kernel with trivial socket filters; no hook runs them.
    ProgramType{BPF_PROG_TYPE_SOCKET_FILTER, "socket_filter", kSocketFilter, sizeof(__sk_buff),
                kSocketFilterFields, socket_filter_verdict, socket_filter_action},
    ProgramType{BPF_PROG_TYPE_SCHED_CLS, "sched_cls", kTc, sizeof(__sk_buff), kSkbFields,
                tc_verdict, tc_action},
    // Actions differ from classifiers in where tc runs them alone; no hook does.
    ProgramType{BPF_PROG_TYPE_SCHED_ACT, "sched_act", kTc, sizeof(__sk_buff), kSkbFields,
                tc_verdict, tc_action},
    ProgramType{BPF_PROG_TYPE_XDP, "xdp", kXdp, sizeof(xdp_md), kXdpFields, xdp_verdict, xdp_action,
                false, xdp_has_field},
};

std::vector<ProgramType> all_types() {
  std::vector<ProgramType> rows(kProgramTypes.begin(), kProgramTypes.end());
  const std::vector<ProgramType> others = verified_program_types(kSkbFields);
  rows.insert(rows.end(), others.begin(), others.end());
  return rows;
}

const ContextField* field_at(std::span<const ContextField> fields, uint32_t offset) {
  for (const ContextField& f : fields) {
    if (offset >= f.offset && offset < f.offset + f.size) return &f;
  }
  return nullptr;
}

// So many bytes Linux keeps of a field. A read that is narrower than the context's field but not
// than these gives them all, wherever inside the field it starts.
uint32_t kept_bytes(const ContextField& field) {
  constexpr std::array kShort = {std::string_view("queue_mapping"), std::string_view("protocol"),
                                 std::string_view("vlan_tci"),      std::string_view("vlan_proto"),
                                 std::string_view("tc_index"),      std::string_view("tc_classid"),
                                 std::string_view("gso_segs"),      std::string_view("gso_size")};
  if (field.name == "pkt_type") return 1;
  return std::find(kShort.begin(), kShort.end(), field.name) != kShort.end() ? 2 : field.size;
}

// No interface has index 0: a packet that goes nowhere has no such field.
bool packet_has(const Packet& packet, const ContextField& field) {
  return field.name != "egress_ifindex" || packet.egress_ifindex != 0;
}

bool is_control_block(uint32_t offset, uint32_t size) {
  return offset >= kControlBlock && offset + size <= kControlBlockEnd;
}

}  // namespace

const ContextField* ProgramType::field_for(uint32_t offset, uint32_t size, bool write) const {
  if (offset % size != 0) return nullptr;
  const ContextField* f = field_at(fields, offset);
  if (f == nullptr || (write && !f->writable)) return nullptr;
  if (offset == f->offset && size == f->size) return f;
  // Other sizes than the field's: parts for reading; of cb, which lies in one piece in Linux too,
  // also two fields at once, and parts for writing.
  const bool in_cb = f->name.starts_with("cb[") && is_control_block(offset, size);
  if (write) return in_cb || (f->in_pieces && size == 4) ? f : nullptr;
  return f->narrow && size >= f->least && (size < f->size || in_cb) ? f : nullptr;
}

bool ProgramType::load(const Packet& packet, uint32_t offset, uint32_t size,
                       uint64_t& value) const {
  const ContextField* f = field_for(offset, size, false);
  if (f == nullptr || !packet_has(packet, *f)) return false;
  const uint32_t inside = offset - f->offset;
  if (inside == 0 && size == f->size) {
    value = f->load(packet);
  } else if (size < f->size) {
    const uint64_t whole = f->load(packet);
    value = size < kept_bytes(*f) ? whole >> (8 * inside) & ((1ull << (8 * size)) - 1) : whole;
  } else {
    value = f[0].load(packet) | f[1].load(packet) << 32;
  }
  return true;
}

bool ProgramType::store(Packet& packet, uint32_t offset, uint32_t size, uint64_t value) const {
  const ContextField* f = field_for(offset, size, true);
  if (f == nullptr) return false;
  const uint32_t inside = offset - f->offset;
  if (inside == 0 && size == f->size) {
    f->store(packet, value);
  } else if (size == 8) {
    f[0].store(packet, value & 0xffffffff);
    f[1].store(packet, value >> 32);
  } else {
    const uint64_t mask = ((1ull << (8 * size)) - 1) << (8 * inside);
    f->store(packet, (f->load(packet) & ~mask) | ((value << (8 * inside)) & mask));
  }
  return true;
}

std::span<const ProgramType> program_types() {
  static const std::vector<ProgramType> kTypes = all_types();
  return kTypes;
}

const ProgramType* find_program_type(uint32_t type) {
  static const std::vector<const ProgramType*> kByNumber = [] {
    std::vector<const ProgramType*> rows;
    for (const ProgramType& row : program_types()) {
      if (rows.size() <= row.type) rows.resize(row.type + 1);
      rows[row.type] = &row;
    }
    return rows;
  }();
  return type < kByNumber.size() ? kByNumber[type] : nullptr;
}

}  // namespace xnic::vm
