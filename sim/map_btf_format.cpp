// Map keys and values by their BTF types to the JSON that bpftool -j prints as "formatted". Offsets
// are in bits throughout, since members may be bit-fields. BTF is foreign input here: each access
// is checked against the bytes at hand.
// What it leaves out: floating point, which bpftool 7.1 does not print either; bpftool's slip of
// printing a backslash in text as a line feed.
// Test: tests/sim/map_file_test.cpp.
#include <algorithm>
#include <optional>

#include "sim/map_btf.h"
#include "sim/map_btf_types.h"

namespace xnic::sim {
namespace {

class Formatter {
 public:
  Formatter(const btf* types, std::span<const uint8_t> bytes, std::string& out)
      : types_(types), bytes_(bytes), out_(out) {}

  bool format(uint32_t id, uint64_t offset, uint32_t field_bits = 0, int depth = kMaxTypeDepth) {
    const btf_type* type = resolve(types_, id);
    if (type == nullptr || depth == 0) return false;
    if (field_bits != 0) return format_field(offset, field_bits);
    switch (btf_kind(type)) {
      case BTF_KIND_INT:
        return format_int(type, offset);
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
        return format_enum(type, offset);
      case BTF_KIND_PTR:
        return format_number(offset, 64, false);
      case BTF_KIND_ARRAY:
        return format_array(btf_array(type), offset, depth);
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        return format_members(type, offset, depth);
      case BTF_KIND_DATASEC:
        return format_section(type, offset, depth);
      default:
        return false;
    }
  }

 private:
  std::optional<Bits128> get(uint64_t offset, uint32_t width) const {
    if (width == 0 || width > 128 || offset + width > bytes_.size() * 8) return {};
    Bits128 bits = 0;
    for (uint32_t done = 0; done < width;) {
      const uint32_t shift = (offset + done) % 8;
      const uint32_t step = std::min(8 - shift, width - done);
      const uint32_t part = (bytes_[(offset + done) / 8] >> shift) & ((1u << step) - 1);
      bits |= Bits128{part} << done;
      done += step;
    }
    return bits;
  }

  bool format_field(uint64_t offset, uint32_t width) {
    const auto bits = get(offset, width);
    if (!bits) return false;
    const auto high = static_cast<uint64_t>(*bits >> 64);
    const auto low = static_cast<uint64_t>(*bits);
    out_ += high != 0 ? fmt::format("\"{:#x}{:016x}\"", high, low) : fmt::format("\"{:#x}\"", low);
    return true;
  }

  bool format_number(uint64_t offset, uint32_t width, bool is_signed) {
    const auto bits = get(offset, width);
    if (!bits || width > 64) return false;
    const auto value = static_cast<uint64_t>(*bits);
    const uint32_t unused = 64 - width;
    out_ += is_signed ? fmt::format("{}", static_cast<int64_t>(value << unused) >> unused)
                      : fmt::format("{}", value);
    return true;
  }

  bool format_int(const btf_type* type, uint64_t offset) {
    const uint32_t width = integer_bits(type);
    const uint8_t encoding = btf_int_encoding(type);
    offset += btf_int_offset(type);
    if (offset % 8 != 0 || width % 8 != 0 || width == 128) return format_field(offset, width);
    if (encoding & BTF_INT_BOOL) {
      const auto bits = get(offset, width);
      if (bits) out_ += *bits != 0 ? "true" : "false";
      return bits.has_value();
    }
    if ((encoding & BTF_INT_CHAR) && width == 8) {
      const auto bits = get(offset, width);
      if (!bits) return false;
      const auto code = static_cast<uint8_t>(*bits);
      out_ += code >= 0x20 && code < 0x7f ? json_quote(std::string(1, static_cast<char>(code)))
                                          : fmt::format("\"\\u00{:02x}\"", code);
      return true;
    }
    if (width != 8 && width != 16 && width != 32 && width != 64) return format_field(offset, width);
    return format_number(offset, width, encoding & BTF_INT_SIGNED);
  }

  bool format_enum(const btf_type* type, uint64_t offset) {
    const uint32_t width = std::min(type->size, 8u) * 8;
    const auto bits = get(offset, width);
    if (!bits) return false;
    const Bits128 mask = (Bits128{1} << width) - 1;
    const bool wide = btf_is_enum64(type);
    for (uint16_t i = 0; i < btf_vlen(type); ++i) {
      const uint64_t value = wide ? btf_enum64_value(&btf_enum64(type)[i])
                                  : static_cast<uint64_t>(btf_enum(type)[i].val);
      if ((value & mask) != *bits) continue;
      const uint32_t name = wide ? btf_enum64(type)[i].name_off : btf_enum(type)[i].name_off;
      out_ += json_quote(name_at(types_, name));
      return true;
    }
    return format_number(offset, width, true);
  }

  // A char array is text if it has a NUL and only printable characters before.
  std::optional<std::string_view> text_of(const struct btf_array* array, uint64_t offset) const {
    const btf_type* element = btf__type_by_id(types_, array->type);
    for (int depth = 0; element != nullptr && btf_is_mod(element) && depth < kMaxTypeDepth; ++depth)
      element = btf__type_by_id(types_, element->type);
    if (element == nullptr || !btf_is_int(element) || element->size != 1 || offset % 8 != 0 ||
        offset / 8 + array->nelems > bytes_.size() ||
        (!(btf_int_encoding(element) & BTF_INT_CHAR) &&
         name_at(types_, element->name_off) != "char"))
      return {};
    const std::string_view all(reinterpret_cast<const char*>(bytes_.data()) + offset / 8,
                               array->nelems);
    const size_t length = all.find('\0');
    if (length == all.npos) return {};
    const auto printable = [](char c) { return c > 0x1f && c < 0x7f; };
    const std::string_view text = all.substr(0, length);
    return std::all_of(text.begin(), text.end(), printable) ? std::optional(text) : std::nullopt;
  }

  bool format_array(const struct btf_array* array, uint64_t offset, int depth) {
    if (const auto text = text_of(array, offset)) {
      out_ += json_quote(*text);
      return true;
    }
    const int64_t size = btf__resolve_size(types_, array->type);
    if (size <= 0 && array->nelems != 0) return false;
    out_ += '[';
    for (uint32_t i = 0; i < array->nelems; ++i) {
      if (i > 0) out_ += ',';
      if (!format(array->type, offset + uint64_t{i} * static_cast<uint64_t>(size) * 8, 0,
                  depth - 1))
        return false;
    }
    out_ += ']';
    return true;
  }

  bool format_members(const btf_type* type, uint64_t offset, int depth) {
    out_ += '{';
    for (uint16_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& member = btf_members(type)[i];
      if (i > 0) out_ += ',';
      out_ += json_quote(name_at(types_, member.name_off)) + ":";
      if (!format(member.type, offset + btf_member_bit_offset(type, i),
                  btf_member_bitfield_size(type, i), depth - 1))
        return false;
    }
    out_ += '}';
    return true;
  }

  bool format_section(const btf_type* type, uint64_t offset, int depth) {
    out_ += "{" + json_quote(name_at(types_, type->name_off)) + ":[";
    for (uint16_t i = 0; i < btf_vlen(type); ++i) {
      const btf_var_secinfo& variable = btf_var_secinfos(type)[i];
      const btf_type* named = btf__type_by_id(types_, variable.type);
      if (named == nullptr) return false;
      if (i > 0) out_ += ',';
      out_ += "{" + json_quote(name_at(types_, named->name_off)) + ":";
      if (!format(variable.type, offset + uint64_t{variable.offset} * 8, 0, depth - 1))
        return false;
      out_ += '}';
    }
    out_ += "]}";
    return true;
  }

  const btf* types_;
  std::span<const uint8_t> bytes_;
  std::string& out_;
};

}  // namespace

bool format_btf(const btf* types, uint32_t type_id, std::span<const uint8_t> bytes,
                std::string& out) {
  return Formatter(types, bytes, out).format(type_id, 0);
}

}  // namespace xnic::sim
