// Finds the kernel's own fields in types, by the names and tags that BTF has. Left out: kptrs to
// the kernel's types that Linux cannot free, which it refuses.
// Test: tests/vm/value_fields_test.cpp, tests/vm/local_types_test.cpp, against the kernel.
#include "vm/maps/field_search.h"

#include <bpf/btf.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vm/btf.h"

namespace xnic::vm {
namespace {

using Kind = SpecialField::Kind;
using Found = tl::expected<std::vector<SpecialField>, int>;

constexpr uint32_t kMaxDepth = 32;  // of types in types
constexpr size_t kMostFields = 11;  // that Linux keeps of a type
constexpr uint32_t kPointerBytes = 8;
constexpr std::string_view kContains = "contains:";

struct NamedKind {
  std::string_view name;
  Kind kind;
  uint32_t size;
  uint32_t alignment;
  bool in_map_values;
  bool in_local_objects;
  bool once;
};
constexpr NamedKind kNamedKinds[] = {
    {"bpf_spin_lock", Kind::spin_lock, 4, 4, true, true, true},
    {"bpf_timer", Kind::timer, 16, 8, true, false, true},
    {"bpf_wq", Kind::work_queue, 16, 8, true, false, true},
    {"bpf_list_head", Kind::list_head, 16, 8, true, true, false},
    {"bpf_list_node", Kind::list_node, 24, 8, false, true, false},
    {"bpf_rb_root", Kind::rb_root, 16, 8, true, true, false},
    {"bpf_rb_node", Kind::rb_node, 32, 8, false, true, false},
    {"bpf_refcount", Kind::refcount, 4, 4, true, true, false},
};

const NamedKind* kind_named(std::string_view name, FieldsOf what) {
  const auto found = std::ranges::find(kNamedKinds, name, &NamedKind::name);
  if (found == std::end(kNamedKinds)) return nullptr;
  const bool counts = what == FieldsOf::map_value ? found->in_map_values : found->in_local_objects;
  return counts ? &*found : nullptr;
}

bool is_tag(const btf_type* type) {
  return type != nullptr && btf_is_type_tag(type) && !btf_kflag(type);
}

// Functions give -errno where a rule is broken, else 0.
class Search {
 public:
  Search(const btf* types, FieldsOf what) : types_(types), what_(what) {}

  Found run(const btf_type* type) {
    const int error = btf_is_datasec(type)     ? in_section(type)
                      : btf_is_composite(type) ? in_struct(type, 0, 0)
                                               : 0;
    if (error != 0) return tl::unexpected(error);
    if (const int broken = check_together()) return tl::unexpected(broken);
    return std::move(fields_);
  }

 private:
  std::string_view name_of(const btf_type* type) const {
    const char* text = btf__str_by_offset(types_, type->name_off);
    return text != nullptr ? text : "";
  }

  int in_section(const btf_type* section) {
    const btf_var_secinfo* variable = btf_var_secinfos(section);
    for (uint32_t i = 0; i < btf_vlen(section); ++i, ++variable) {
      const btf_type* declared = btf__type_by_id(types_, variable->type);
      if (declared == nullptr || !btf_is_var(declared)) continue;
      const Owner owner{variable->type, -1};
      if (const int error = at(declared->type, variable->offset, variable->size, 0, owner)) {
        return error;
      }
    }
    return 0;
  }

  int in_struct(const btf_type* type, uint32_t base, uint32_t depth) {
    if (depth >= kMaxDepth) return -E2BIG;
    const auto id = id_of(type);
    const btf_member* member = btf_members(type);
    for (uint32_t i = 0; i < btf_vlen(type); ++i, ++member) {
      const uint32_t bits = btf_member_bit_offset(type, i);
      if (bits % 8 != 0) return -EINVAL;
      const Owner owner{id, static_cast<int>(i)};
      if (const int error = at(member->type, base + bits / 8, 0, depth, owner)) return error;
    }
    return 0;
  }

  // What a declaration tag of a field hangs on.
  struct Owner {
    uint32_t type_id;
    int component;
  };

  uint32_t id_of(const btf_type* type) const {
    const uint32_t count = btf__type_cnt(types_);
    for (uint32_t id = 1; id < count; ++id) {
      if (btf__type_by_id(types_, id) == type) return id;
    }
    return 0;
  }

  // `room` is the size that the place has for the type, 0 where nothing says.
  int at(uint32_t type_id, uint32_t offset, uint32_t room, uint32_t depth, Owner owner) {
    uint64_t count = 1;
    const btf_type* type = btf__type_by_id(types_, type_id);
    for (uint32_t i = 0; type != nullptr && btf_is_array(type); ++i) {
      if (i == kMaxDepth) return -E2BIG;
      count *= btf_array(type)->nelems;
      type = btf__type_by_id(types_, btf_array(type)->type);
    }
    if (type == nullptr || count == 0) return 0;
    const size_t first = fields_.size();
    const NamedKind* kind = kind_named(name_of(type), what_);
    if (kind != nullptr) {
      if (kind->once && std::ranges::find(seen_, kind->kind) != seen_.end()) return -E2BIG;
      if (kind->once) seen_.push_back(kind->kind);
      if (room != 0 && room != kind->size * count) return 0;
      if (offset % kind->alignment != 0) return 0;
      if (const int error = add_named(type, *kind, offset, owner)) return error;
      return repeat(first, kind->size, count);
    }
    if (btf_is_composite(type)) {
      if (room != 0 && room != type->size * count) return 0;
      if (const int error = in_struct(type, offset, depth + 1)) return error;
      return repeat(first, type->size, count);
    }
    if (room != 0 && room != kPointerBytes * count) return 0;
    if (offset % kPointerBytes != 0) return 0;
    if (const int error = add_pointer(type, offset)) return error;
    return repeat(first, kPointerBytes, count);
  }

  int add_named(const btf_type* type, const NamedKind& kind, uint32_t offset, Owner owner) {
    if (!btf_is_composite(type) || type->size != kind.size) return 0;
    SpecialField field{kind.kind, offset, kind.size};
    if (field.is_root()) {
      if (const int error = find_contained(field, owner)) return error;
    }
    return add(field);
  }

  // What a root holds: the tag "contains:TYPE:NODE".
  int find_contained(SpecialField& field, Owner owner) const {
    std::optional<std::string> tag;
    const uint32_t count = btf__type_cnt(types_);
    for (uint32_t id = 1; id < count; ++id) {
      const btf_type* type = btf__type_by_id(types_, id);
      if (!btf_is_decl_tag(type) || type->type != owner.type_id) continue;
      if (btf_decl_tag(type)->component_idx != owner.component) continue;
      if (!name_of(type).starts_with(kContains)) continue;
      if (tag) return -EINVAL;
      tag = std::string(name_of(type).substr(kContains.size()));
    }
    const size_t colon = tag ? tag->find(':') : std::string::npos;
    if (colon == std::string::npos) return -EINVAL;
    const std::string node = tag->substr(colon + 1);
    const int32_t id =
        btf__find_by_name_kind(types_, tag->substr(0, colon).c_str(), BTF_KIND_STRUCT);
    if (id < 0) return -ENOENT;
    if (node.empty()) return -EINVAL;
    field.type_id = static_cast<uint32_t>(id);
    return find_node(field, node);
  }

  int find_node(SpecialField& field, std::string_view node) const {
    const std::string_view wanted = field.kind == Kind::list_head ? "bpf_list_node" : "bpf_rb_node";
    const btf_type* type = btf__type_by_id(types_, field.type_id);
    bool is_found = false;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      const btf_member& member = btf_members(type)[i];
      if (node != btf__str_by_offset(types_, member.name_off)) continue;
      const btf_type* target = btf__type_by_id(types_, member.type);
      const uint32_t bits = btf_member_bit_offset(type, i);
      const bool fits = !is_found && target != nullptr && btf_is_composite(target) &&
                        name_of(target) == wanted && bits % (8 * kPointerBytes) == 0;
      if (!fits) return -EINVAL;
      is_found = true;
      field.node_offset = bits / 8;
    }
    return is_found ? 0 : -ENOENT;
  }

  int add_pointer(const btf_type* type, uint32_t offset) {
    if (btf_is_volatile(type)) type = btf__type_by_id(types_, type->type);
    if (type == nullptr || !btf_is_ptr(type)) return 0;
    const btf_type* tag = btf__type_by_id(types_, type->type);
    if (!is_tag(tag)) return 0;
    if (is_tag(btf__type_by_id(types_, tag->type))) return -EINVAL;
    const std::string_view word = name_of(tag);
    Kind kind{};
    if (word == "kptr_untrusted") {
      kind = Kind::untrusted_kptr;
    } else if (word == "kptr") {
      kind = Kind::kptr;
    } else if (word == "percpu_kptr") {
      kind = Kind::percpu_kptr;
    } else if (word == "uptr") {
      if (what_ == FieldsOf::local_object) return 0;
      kind = Kind::user_pointer;
    } else {
      return -EINVAL;
    }
    uint32_t id = tag->type;
    const btf_type* target = btf__type_by_id(types_, id);
    while (target != nullptr && (btf_is_mod(target) || btf_is_typedef(target))) {
      id = target->type;
      target = btf__type_by_id(types_, id);
    }
    // A forward declaration is no struct.
    if (target == nullptr || !btf_is_composite(target)) return -EINVAL;
    return add({kind, offset, kPointerBytes, id});
  }

  int add(const SpecialField& field) {
    if (fields_.size() == kMostFields) return -E2BIG;
    fields_.push_back(field);
    return 0;
  }

  // The fields from number `first` on are those of the first of `count` array elements.
  int repeat(size_t first, uint32_t stride, uint64_t count) {
    const size_t each = fields_.size() - first;
    if (each == 0 || count == 1) return 0;
    for (size_t i = first; i < first + each; ++i) {
      if (!fields_[i].is_kptr() && !fields_[i].is_root()) return -EINVAL;
    }
    if (count > kMostFields || first + each * count > kMostFields) return -E2BIG;
    for (uint32_t element = 1; element < count; ++element) {
      for (size_t i = first; i < first + each; ++i) {
        SpecialField field = fields_[i];
        field.offset += element * stride;
        fields_.push_back(field);
      }
    }
    return 0;
  }

  // What fields ask of each other.
  int check_together() {
    uint32_t behind = 0;
    for (const SpecialField& field : fields_) {
      if (field.offset < behind) return -EEXIST;
      behind = field.offset + field.size;
    }
    const auto has = [this](Kind kind) {
      return std::ranges::find(fields_, kind, &SpecialField::kind) != fields_.end();
    };
    if ((has(Kind::list_head) || has(Kind::rb_root)) && !has(Kind::spin_lock)) return -EINVAL;
    // An object that may be in two collections needs a count of its owners.
    if (has(Kind::list_node) && has(Kind::rb_node) && !has(Kind::refcount)) return -EINVAL;
    return 0;
  }

  const btf* types_;
  FieldsOf what_;
  std::vector<SpecialField> fields_;
  std::vector<Kind> seen_;
};

}  // namespace

Found find_fields(const btf* types, const btf_type* type, FieldsOf what) {
  return Search(types, what).run(type);
}

}  // namespace xnic::vm
