#include "vm/btf.h"

#include <bpf/btf.h>

#include "vm/local_types.h"

namespace xnic::vm {

std::shared_ptr<Btf> Btf::parse(std::span<const uint8_t> blob) {
  std::vector<uint8_t> copy(blob.begin(), blob.end());
  btf* parsed = btf__new(copy.data(), static_cast<uint32_t>(copy.size()));
  if (parsed == nullptr) return nullptr;
  return std::shared_ptr<Btf>(new Btf(std::move(copy), parsed));
}

Btf::Btf(std::vector<uint8_t> blob, btf* parsed) : blob_(std::move(blob)), parsed_(parsed) {}

Btf::~Btf() { btf__free(parsed_); }

int Btf::find_local_types() {
  auto found = LocalTypes::find(*this);
  if (!found) return found.error();
  local_types_ = std::move(*found);
  return 0;
}

uint32_t Btf::type_count() const { return btf__type_cnt(parsed_); }

std::string_view Btf::string_at(uint32_t offset) const {
  const char* text = btf__str_by_offset(parsed_, offset);
  return text == nullptr ? std::string_view() : text;
}

std::string_view Btf::type_name(uint32_t type_id) const {
  const btf_type* type = btf__type_by_id(parsed_, type_id);
  return type == nullptr ? std::string_view() : string_at(type->name_off);
}

bool Btf::is_static_function(uint32_t type_id) const {
  const btf_type* type = btf__type_by_id(parsed_, type_id);
  return type != nullptr && btf_is_func(type) && btf_vlen(type) == BTF_FUNC_STATIC;
}

bool Btf::is_global_function(uint32_t type_id) const {
  const btf_type* type = btf__type_by_id(parsed_, type_id);
  return type != nullptr && btf_is_func(type) && btf_vlen(type) == BTF_FUNC_GLOBAL;
}

uint32_t Btf::function_id(std::string_view name) const {
  const int found = btf__find_by_name_kind(parsed_, std::string(name).c_str(), BTF_KIND_FUNC);
  return found < 0 ? 0 : static_cast<uint32_t>(found);
}

bool Btf::is_function(uint32_t type_id) const {
  const btf_type* type = btf__type_by_id(parsed_, type_id);
  return type != nullptr && btf_is_func(type);
}

bool Btf::is_variable(uint32_t type_id) const {
  const btf_type* type = btf__type_by_id(parsed_, type_id);
  return type != nullptr && btf_is_var(type);
}

uint32_t Btf::struct_id(std::string_view name) const {
  const int found = btf__find_by_name_kind(parsed_, std::string(name).c_str(), BTF_KIND_STRUCT);
  return found < 0 ? 0 : static_cast<uint32_t>(found);
}

bool Btf::returns_number(uint32_t type_id) const {
  const btf_type* function = btf__type_by_id(parsed_, type_id);
  if (function == nullptr || !btf_is_func(function)) return false;
  const btf_type* type = btf__type_by_id(parsed_, function->type);
  if (type != nullptr) type = btf__type_by_id(parsed_, type->type);
  while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type))) {
    type = btf__type_by_id(parsed_, type->type);
  }
  return type != nullptr && (btf_is_int(type) || btf_is_any_enum(type));
}

}  // namespace xnic::vm
