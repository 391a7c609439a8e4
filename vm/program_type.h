#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "vm/packet.h"

namespace xnic::vm {

// What a field that is an address leads to.
enum class Points : uint8_t {
  nowhere,  // a number
  packet,   // data; read whole, gives a 64-bit address
  packet_meta,
  packet_end,
  flow_keys,  // struct bpf_flow_keys
  socket,     // a full one
  socket_or_null,
  socket_common_or_null,
};

// One field of a program's context as linux/bpf.h lays it out, and how Linux answers an access:
// the kernel rewrites each into an access to its own structures, here the row's functions do.
struct ContextField {
  std::string_view name;
  uint16_t offset;  // in struct xdp_md, struct __sk_buff
  uint16_t size;    // bytes, 4 or 8
  bool writable;
  bool narrow;  // may be read in parts of 1 or 2 bytes
  Points points;
  uint64_t (*load)(const Packet&);
  void (*store)(Packet&, uint64_t);  // null if not writable
  bool in_pieces = false;            // may be written in parts of 4 bytes
  uint8_t least = 1;                 // bytes that may be read at a time

  constexpr bool is_address() const { return points != Points::nowhere; }
};

enum class Action : uint8_t {
  pass,      // go on to the next stage
  drop,      // free the packet, by the program's wish
  aborted,   // free the packet: XDP_ABORTED, an unknown XDP code or a fault
  tx,        // send it back out of the port it came from (XDP_TX)
  redirect,  // send it where bpf_redirect said
  consumed,  // the program took it (TC_ACT_STOLEN, QUEUED, TRAP)
};

// What a program may leave in r0.
struct ResultRange {
  int32_t least;
  int32_t most;
};

inline constexpr ResultRange kAnyResult{INT32_MIN, INT32_MAX};

struct ProgramType {
  bpf_prog_type type;
  std::string_view name;  // as bpftool prints it: "xdp", "sched_cls"
  uint32_t helper_set;    // kXdp, kTc
  uint32_t context_size;  // bytes
  std::span<const ContextField> fields;
  // What Linux makes of r0: the name in the output ("XDP_DROP", "TC_ACT_OK") and what follows.
  // An unknown XDP code is named XDP_ABORTED, an unknown direct-action code TC_ACT_UNSPEC.
  std::string_view (*verdict_name)(uint32_t code);
  Action (*action)(uint32_t code);
  // Programs may look at packets and not change them.
  bool packet_is_read_only = false;
  // Whether programs of this attach type may read or write the field; null where all have all.
  bool (*has_field)(const ContextField& field, uint32_t attach_type, bool write) = nullptr;
  // The context are values of the kernel's types, 8 bytes each, which follow from what the program
  // is attached to.
  bool has_typed_arguments = false;
  // The context is memory like any other, of a user who knows what is in it.
  bool context_is_memory = false;
  // Nothing here runs such programs.
  bool is_only_verified = false;
  // Null where r0 may be anything.
  ResultRange (*results)(uint32_t attach_type) = nullptr;

  // Reads `size` bytes at `offset` of the context. False where Linux permits no such access.
  bool load(const Packet& packet, uint32_t offset, uint32_t size, uint64_t& value) const;
  bool store(Packet& packet, uint32_t offset, uint32_t size, uint64_t value) const;
  // The field that such an access meets, the first of two where it may meet two; null where Linux
  // permits no such access.
  const ContextField* field_for(uint32_t offset, uint32_t size, bool write) const;
};

std::span<const ProgramType> program_types();
// Null for a type that does not exist here.
const ProgramType* find_program_type(uint32_t type);

}  // namespace xnic::vm
