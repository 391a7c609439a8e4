// Map keys and values from JSON by their BTF types. Offsets are in bits throughout, since members
// may be bit-fields. BTF is foreign input here: each write is checked against the bytes at hand.
// What it leaves out: floating point, which bpftool 7.1 does not print either; big-endian machines.
// Test: tests/sim/map_file_test.cpp.
#include "sim/map_btf.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "sim/map_btf_types.h"

namespace xnic::sim {
namespace {

using Kind = JsonValue::Kind;
using Outcome = tl::expected<void, FieldError>;

template <class... Args>
tl::unexpected<FieldError> wrong(fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<FieldError>({"", fmt::format(text, std::forward<Args>(args)...)});
}

Outcome at(std::string_view step, Outcome outcome) {
  if (!outcome) outcome.error().path.insert(0, step);
  return outcome;
}

enum class Sign : uint8_t { without, with, either };

std::optional<Bits128> number_in(const JsonValue& value, uint32_t width, Sign sign) {
  if (width == 0 || width > 128) return {};
  const Bits128 limit = width == 128 ? 0 : Bits128{1} << width;
  const auto fits = [&](Bits128 bits) { return limit == 0 || bits < limit; };
  if (value.is(Kind::text)) {
    const auto bits = parse_hex(value.text);
    return bits && fits(*bits) ? bits : std::nullopt;
  }
  if (!value.is(Kind::integer)) return {};
  const Bits128 half = Bits128{1} << (width - 1);
  if (!value.negative) {
    const bool small = sign == Sign::with ? value.number < half : fits(value.number);
    return small ? std::optional<Bits128>(value.number) : std::nullopt;
  }
  const uint64_t magnitude = 0 - value.number;
  if (sign == Sign::without || magnitude > half) return {};
  const Bits128 bits = Bits128{0} - magnitude;
  return limit == 0 ? bits : bits & (limit - 1);
}

tl::unexpected<FieldError> no_number(const JsonValue& value, uint32_t width, Sign sign) {
  const char* kind = sign == Sign::with ? "signed " : sign == Sign::without ? "unsigned " : "";
  return wrong("{} is no {}integer of {} bits", value.described(), kind, width);
}

class Encoder {
 public:
  Encoder(const btf* types, std::span<uint8_t> bytes)
      : types_(types), bytes_(bytes), known_(bytes.size()) {}

  // `field_bits` is the width of a bit-field, 0 if it is none.
  Outcome encode(uint32_t id, const JsonValue& value, uint64_t offset, uint32_t field_bits = 0) {
    const btf_type* type = resolve(types_, id);
    if (type == nullptr) return wrong("BTF does not say what it is");
    if (field_bits == 0 && value.is(Kind::list))
      if (const int64_t size = btf__resolve_size(types_, id);
          size > 0 && static_cast<size_t>(size) == value.items.size() && offset % 8 == 0 &&
          offset / 8 + static_cast<uint64_t>(size) <= bytes_.size()) {
        std::vector<uint8_t> given(value.items.size());
        if (encode_bytes(value, given)) return put_bytes(offset, given);
      }
    switch (btf_kind(type)) {
      case BTF_KIND_INT:
        return encode_int(type, value, offset, field_bits);
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
        return encode_enum(type, value, offset, field_bits);
      case BTF_KIND_PTR:
        return put_number(value, offset, 64, Sign::without);
      case BTF_KIND_ARRAY:
        return encode_array(btf_array(type), value, offset);
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        return encode_members(id, type, value, offset);
      case BTF_KIND_DATASEC:
        return encode_section(type, value, offset);
      default:
        return wrong("BTF kind {} can't be given as JSON; give a list of bytes", btf_kind(type));
    }
  }

 private:
  // Every write ends here: in range, and in agreement with what overlapping members said.
  Outcome put(uint64_t offset, uint32_t width, Bits128 bits) {
    if (offset + width > bytes_.size() * 8) return wrong("BTF places it outside of the value");
    while (width > 0) {
      const uint32_t shift = offset % 8;
      const uint32_t step = std::min(8 - shift, width);
      const auto mask = static_cast<uint8_t>(((1u << step) - 1) << shift);
      const auto part = static_cast<uint8_t>((static_cast<uint32_t>(bits) << shift) & mask);
      uint8_t& byte = bytes_[offset / 8];
      uint8_t& known = known_[offset / 8];
      if (((byte ^ part) & mask & known) != 0)
        return wrong("it contradicts another member that shares its bytes");
      byte = static_cast<uint8_t>((byte & ~mask) | part);
      known = static_cast<uint8_t>(known | mask);
      bits >>= step;
      offset += step;
      width -= step;
    }
    return {};
  }

  Outcome put_bytes(uint64_t offset, std::span<const uint8_t> given) {
    for (const uint8_t byte : given) {
      if (auto done = put(offset, 8, byte); !done) return done;
      offset += 8;
    }
    return {};
  }

  Outcome put_number(const JsonValue& value, uint64_t offset, uint32_t width, Sign sign) {
    const auto bits = number_in(value, width, sign);
    return bits ? put(offset, width, *bits) : no_number(value, width, sign);
  }

  Outcome encode_int(const btf_type* type, const JsonValue& value, uint64_t offset,
                     uint32_t field_bits) {
    const uint32_t width = field_bits != 0 ? field_bits : integer_bits(type);
    const uint8_t encoding = btf_int_encoding(type);
    if (field_bits == 0) offset += btf_int_offset(type);
    if (value.is(Kind::boolean) && (encoding & BTF_INT_BOOL))
      return put(offset, width, value.number);
    if (value.is(Kind::text) && value.text.size() == 1 && width == 8)
      return put(offset, width, static_cast<uint8_t>(value.text[0]));
    return put_number(value, offset, width,
                      (encoding & BTF_INT_SIGNED) ? Sign::with : Sign::without);
  }

  // bpftool prints numbers of enums as signed, whatever they are.
  Outcome encode_enum(const btf_type* type, const JsonValue& value, uint64_t offset,
                      uint32_t field_bits) {
    const uint32_t width = field_bits != 0 ? field_bits : std::min(type->size, 8u) * 8;
    if (!value.is(Kind::text) || parse_hex(value.text))
      return put_number(value, offset, width, Sign::either);
    const bool wide = btf_is_enum64(type);
    for (uint16_t i = 0; i < btf_vlen(type); ++i) {
      const uint32_t name = wide ? btf_enum64(type)[i].name_off : btf_enum(type)[i].name_off;
      if (name_at(types_, name) != value.text) continue;
      return put(offset, width,
                 wide ? btf_enum64_value(&btf_enum64(type)[i])
                      : static_cast<uint32_t>(btf_enum(type)[i].val));
    }
    return wrong("{} is not an enumerator of enum {}", value.described(),
                 name_at(types_, type->name_off));
  }

  Outcome encode_array(const struct btf_array* array, const JsonValue& value, uint64_t offset) {
    const int64_t size = btf__resolve_size(types_, array->type);
    if (size < 0) return wrong("BTF does not say how large its elements are");
    if (value.is(Kind::text)) {
      uint32_t id = array->type;
      const btf_type* element = resolve(types_, id);
      if (size != 1 || element == nullptr || !btf_is_int(element))
        return wrong("{} is given for an array that is not of characters", value.described());
      if (value.text.size() > array->nelems)
        return wrong("{} is longer than the {} characters of the array", value.described(),
                     array->nelems);
      // With its end if there is room; what follows the end is not said.
      const size_t size_with_end = std::min<size_t>(value.text.size() + 1, array->nelems);
      return put_bytes(offset,
                       {reinterpret_cast<const uint8_t*>(value.text.c_str()), size_with_end});
    }
    if (!value.is(Kind::list))
      return wrong("{} is given for an array of {}", value.described(), array->nelems);
    if (value.items.size() != array->nelems)
      return wrong("{} is given for an array of {}", value.described(), array->nelems);
    for (size_t i = 0; i < value.items.size(); ++i) {
      auto done = encode(array->type, value.items[i], offset + i * static_cast<uint64_t>(size) * 8);
      if (!done) return at(fmt::format("[{}]", i), std::move(done));
    }
    return {};
  }

  struct Member {
    uint32_t type;
    uint64_t offset;  // bits, in the outermost struct asked
    uint32_t field_bits;
  };

  // A member by name, also one of a struct without name inside, as in C.
  std::optional<Member> find_member(const btf_type* type, std::string_view name, int depth) const {
    const btf_member* members = btf_members(type);
    for (uint16_t i = 0; i < btf_vlen(type); ++i) {
      const Member member{members[i].type, btf_member_bit_offset(type, i),
                          btf_member_bitfield_size(type, i)};
      const std::string_view own_name = name_at(types_, members[i].name_off);
      if (own_name == name) return member;
      uint32_t id = member.type;
      const btf_type* inner = own_name.empty() ? resolve(types_, id) : nullptr;
      if (inner == nullptr || !btf_is_composite(inner) || depth == 0) continue;
      if (auto found = find_member(inner, name, depth - 1)) {
        found->offset += member.offset;
        return found;
      }
    }
    return {};
  }

  // The `index`th member without a name.
  std::optional<Member> find_nameless(const btf_type* type, uint32_t index) const {
    for (uint16_t i = 0; i < btf_vlen(type); ++i)
      if (name_at(types_, btf_members(type)[i].name_off).empty() && index-- == 0)
        return Member{btf_members(type)[i].type, btf_member_bit_offset(type, i),
                      btf_member_bitfield_size(type, i)};
    return {};
  }

  Outcome encode_members(uint32_t id, const btf_type* type, const JsonValue& value,
                         uint64_t offset) {
    const std::string_view own_name = name_at(types_, type->name_off);
    const char* kind = btf_is_union(type) ? "union" : "struct";
    if (!value.is(Kind::object))
      return wrong("{} is given for {} {} of {} bytes", value.described(), kind, own_name,
                   btf__resolve_size(types_, id));
    // Structs in structs in a file are seldom deep; types that contain themselves are forged.
    constexpr int kMaxNameless = 4;
    uint32_t nameless = 0;
    for (size_t i = 0; i < value.items.size(); ++i) {
      const std::string& name = value.names[i];
      const auto member =
          name.empty() ? find_nameless(type, nameless++) : find_member(type, name, kMaxNameless);
      if (!member)
        return wrong("{} {} has no member {}", kind, own_name, json_quote(name.substr(0, 40)));
      auto done = encode(member->type, value.items[i], offset + member->offset, member->field_bits);
      if (!done) return at("." + json_name(name), std::move(done));
    }
    return {};
  }

  // {".data": [{"a": 1}, {"b": 2}]}, or shorter {"a": 1, "b": 2}.
  Outcome encode_section(const btf_type* type, const JsonValue& value, uint64_t offset) {
    const bool wrapped = value.is(Kind::object) && value.items.size() == 1 &&
                         value.items[0].is(Kind::list) &&
                         value.names[0] == name_at(types_, type->name_off);
    if (!wrapped) return encode_variables(type, value, offset);
    for (const JsonValue& item : value.items[0].items)
      if (auto done = encode_variables(type, item, offset); !done) return done;
    return {};
  }

  Outcome encode_variables(const btf_type* type, const JsonValue& value, uint64_t offset) {
    if (!value.is(Kind::object))
      return wrong("{} is given for the variables of section {}", value.described(),
                   name_at(types_, type->name_off));
    const btf_var_secinfo* variables = btf_var_secinfos(type);
    for (size_t i = 0; i < value.items.size(); ++i) {
      const btf_var_secinfo* const end = variables + btf_vlen(type);
      const auto* found = std::find_if(variables, end, [&](const btf_var_secinfo& variable) {
        const btf_type* named = btf__type_by_id(types_, variable.type);
        return named != nullptr && name_at(types_, named->name_off) == value.names[i];
      });
      if (found == end)
        return wrong("section {} has no variable {}", name_at(types_, type->name_off),
                     json_quote(value.names[i].substr(0, 40)));
      auto done = encode(found->type, value.items[i], offset + uint64_t{found->offset} * 8);
      if (!done) return at("." + json_name(value.names[i]), std::move(done));
    }
    return {};
  }

  static std::string json_name(const std::string& name) {
    const std::string quoted = json_quote(name.substr(0, 40));
    return quoted.substr(1, quoted.size() - 2);
  }

  const btf* types_;
  std::span<uint8_t> bytes_;
  std::vector<uint8_t> known_;  // one bit for each bit that a member has set
};

}  // namespace

bool encode_bytes(const JsonValue& value, std::span<uint8_t> bytes) {
  if (!value.is(Kind::list) || value.items.size() != bytes.size()) return false;
  std::vector<uint8_t> given(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto byte = number_in(value.items[i], 8, Sign::without);
    if (!byte) return false;
    given[i] = static_cast<uint8_t>(*byte);
  }
  std::copy(given.begin(), given.end(), bytes.begin());
  return true;
}

Outcome encode_integer(const JsonValue& value, std::span<uint8_t> bytes) {
  const auto width = static_cast<uint32_t>(bytes.size() * 8);
  const auto bits = number_in(value, width, Sign::either);
  if (!bits) return no_number(value, width, Sign::either);
  std::memcpy(bytes.data(), &*bits, bytes.size());
  return {};
}

Outcome encode_btf(const btf* types, uint32_t type_id, const JsonValue& value,
                   std::span<uint8_t> bytes) {
  return Encoder(types, bytes).encode(type_id, value, 0);
}

}  // namespace xnic::sim
