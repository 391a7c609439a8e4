// Follows btf_struct_walk() of kernel/bpf/btf.c. Test: the comparison of verdicts in
// tests/verdicts, tests/vm/verifier/kernel_objects_test.cpp and tests/sim/data/object_faults.bpf.c,
// against Linux.
#include "vm/verifier/struct_access.h"

#include <cerrno>
#include <utility>

namespace xnic::vm::verifier {

const btf_type* skip_modifiers(const btf* types, uint32_t id, uint32_t* at) {
  const btf_type* type = btf__type_by_id(types, id);
  while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type))) {
    id = type->type;
    type = btf__type_by_id(types, id);
  }
  if (at != nullptr) *at = id;
  return type;
}

bool is_struct(const btf_type* type) { return type != nullptr && btf_is_composite(type); }

std::string_view name_of(const btf* types, const btf_type* type) {
  return btf__str_by_offset(types, type->name_off);
}

namespace {

// The field of a struct, or of one within it, that holds the bytes.
class Walk {
 public:
  Walk(const btf* types, ObjectOf whose) : types_(types), whose_(whose) {}

  tl::expected<StructField, Refusal> find(uint32_t id, uint32_t offset, uint32_t size) {
    uint32_t at = 0;
    const btf_type* type = skip_modifiers(types_, id, &at);
    StructField field;
    while (true) {
      if (!is_struct(type)) return fail(EINVAL, "type #{} is not a struct", id);
      field.owner = name_of(types_, type);
      if (btf_is_union(type) && btf_vlen(type) != 1) field.in_union = true;
      if (offset + size > type->size) {
        const btf_type* element = trailing_element(type, offset);
        if (element == nullptr) {
          return fail(EACCES, "access beyond struct {} at off {} size {}", field.owner, offset,
                      size);
        }
        if (!is_struct(element)) return field;
        type = element;
        continue;
      }
      const btf_type* inner = nullptr;
      const auto found = member(type, offset, size, field, inner);
      if (!found) return tl::unexpected(found.error());
      if (inner == nullptr) return field;
      type = inner;
    }
  }

 private:
  template <class... Args>
  static tl::unexpected<Refusal> fail(int error, fmt::format_string<Args...> text, Args&&... args) {
    return tl::unexpected<Refusal>(std::move(*refuse(error, text, std::forward<Args>(args)...)));
  }

  // What a struct that ends in an array without a length has behind its end; moves `offset` into
  // the element.
  const btf_type* trailing_element(const btf_type* type, uint32_t& offset) const {
    if (whose_ == ObjectOf::program || btf_vlen(type) == 0) return nullptr;
    const uint32_t last = btf_vlen(type) - 1;
    const btf_type* array = skip_modifiers(types_, btf_members(type)[last].type);
    if (array == nullptr || !btf_is_array(array) || btf_array(array)->nelems != 0) return nullptr;
    const uint32_t start = btf_member_bit_offset(type, last) / 8;
    if (offset < start) return nullptr;
    const btf_type* element = skip_modifiers(types_, btf_array(array)->type);
    if (btf_is_int(element)) return element;
    if (!is_struct(element) || element->size == 0) return nullptr;
    offset = (offset - start) % element->size;
    return element;
  }

  // The member at an offset: a struct to go on in, or `field` has what there is to know.
  tl::expected<void, Refusal> member(const btf_type* type, uint32_t& offset, uint32_t size,
                                     StructField& field, const btf_type*& inner) const {
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& one = btf_members(type)[i];
      const uint32_t bit = btf_member_bit_offset(type, i);
      const uint32_t bits = btf_member_bitfield_size(type, i);
      uint32_t start = bit / 8;
      if (offset + size <= start) break;
      if (bits != 0) {
        if (offset <= start && (bit + bits + 7) / 8 <= offset + size) return {};
        continue;
      }
      if (offset < start) break;
      const int64_t bytes = btf__resolve_size(types_, one.type);
      if (bytes < 0) {
        return fail(EFAULT, "field {} doesn't have size", btf__str_by_offset(types_, one.name_off));
      }
      const uint32_t end = start + static_cast<uint32_t>(bytes);
      if (offset >= end) continue;
      const btf_type* of = skip_modifiers(types_, one.type);
      while (of != nullptr && btf_is_array(of)) of = skip_modifiers(types_, btf_array(of)->type);
      if (of == nullptr) return {};
      if (const int64_t step = size_of(of); step > 0) {
        start += (offset - start) / static_cast<uint32_t>(step) * static_cast<uint32_t>(step);
      }
      if (is_struct(of)) {
        offset -= start;
        inner = of;
        return {};
      }
      field.name = btf__str_by_offset(types_, one.name_off);
      if (btf_is_ptr(of)) return pointer(of, start, offset, size, field);
      if (offset + size > end && whose_ != ObjectOf::untrusted && !field.in_union) {
        return fail(EACCES,
                    "access beyond the end of member {} (mend:{}) in struct {} with off {} size {}",
                    field.name, end, field.owner, offset, size);
      }
      return {};
    }
    return fail(EINVAL, "struct {} doesn't have field at offset {}", field.owner, offset);
  }

  tl::expected<void, Refusal> pointer(const btf_type* type, uint32_t start, uint32_t offset,
                                      uint32_t size, StructField& field) const {
    if (size != sizeof(uint64_t) || offset != start) {
      return fail(EACCES,
                  "cannot access ptr member {} with moff {} in struct {} with off {} size {}",
                  field.name, start, field.owner, offset, size);
    }
    const btf_type* tagged = btf__type_by_id(types_, type->type);
    if (tagged != nullptr && btf_is_type_tag(tagged)) field.tag = name_of(types_, tagged);
    uint32_t id = 0;
    const btf_type* target = skip_modifiers(types_, type->type, &id);
    if (is_struct(target)) field.struct_id = id;
    return {};
  }

  int64_t size_of(const btf_type* type) const {
    if (btf_is_ptr(type)) return sizeof(uint64_t);
    return btf_is_int(type) || btf_is_any_enum(type) || is_struct(type) ? type->size : 0;
  }

  const btf* types_;
  const ObjectOf whose_;
};

}  // namespace

tl::expected<StructField, Refusal> find_field(const btf* types, uint32_t id, uint32_t offset,
                                              uint32_t size, ObjectOf whose) {
  return Walk(types, whose).find(id, offset, size);
}

}  // namespace xnic::vm::verifier
