#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <tl/expected.hpp>

#include "sim/map_json.h"

struct btf;

namespace xnic::sim {

// What is wrong with a value, and where in it: path ".ins[1].b", text "300 does not fit ...".
struct FieldError {
  std::string path;
  std::string text;
};

// Bytes given outright: a list of exactly bytes.size() items, each "0x0a" or 0 to 255. False, and
// nothing done, if `value` is anything else.
bool encode_bytes(const JsonValue& value, std::span<uint8_t> bytes);

// An integer or "0x..." as little endian in all of `bytes` (at most 16).
tl::expected<void, FieldError> encode_integer(const JsonValue& value, std::span<uint8_t> bytes);

// Lays out `value` as BTF type `type_id` has it, in the form in which bpftool prints that type:
// integers as numbers or "0x...", enumerators by name or number, char arrays as text or numbers,
// structs and unions as objects. Any part may be a list of its bytes instead. Members that are
// not named leave `bytes` as they are; members that overlap (of a union) must agree.
tl::expected<void, FieldError> encode_btf(const btf* types, uint32_t type_id,
                                          const JsonValue& value, std::span<uint8_t> bytes);

// Appends `bytes` as bpftool -j prints type `type_id`. False for a type that it can't print, and
// then what was appended is of no use.
bool format_btf(const btf* types, uint32_t type_id, std::span<const uint8_t> bytes,
                std::string& out);

}  // namespace xnic::sim
