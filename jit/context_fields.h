#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>

namespace xnic::jit {

// A context field that generated code reads, or writes, in the Packet itself.
struct PlainField {
  int32_t offset;  // in Packet, bytes
  uint32_t size;   // there; reading extends with zeros
  bool writable;   // by storing so many of the low bytes
};

// The field that a whole access of a verified program at this offset of the context meets; nothing
// where vm::ProgramType has to answer.
std::optional<PlainField> plain_field(bpf_prog_type type, uint32_t offset, uint32_t size);

}  // namespace xnic::jit
