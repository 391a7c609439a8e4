#include "vm/verifier/register.h"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "vm/map.h"

namespace xnic::vm::verifier {
namespace {

std::string_view base_name(Type type) {
  switch (type) {
    case Type::uninitialised:
      return "?";
    case Type::scalar:
      return "scalar";
    case Type::context:
      return "ctx";
    case Type::map:
      return "map_ptr";
    case Type::map_value:
      return "map_value";
    case Type::map_key:
      return "map_key";
    case Type::stack:
      return "fp";
    case Type::packet:
      return "pkt";
    case Type::packet_meta:
      return "pkt_meta";
    case Type::packet_end:
      return "pkt_end";
    case Type::memory:
      return "mem";
    case Type::record:
      return "ringbuf_mem";
    case Type::function:
      return "func";
    case Type::dynptr:
      return "dynptr_ptr";
    case Type::flow_keys:
      return "flow_keys";
    case Type::kernel_object:
      return "untrusted_ptr";
    case Type::local_object:
      return "ptr_";
    case Type::socket_common:
      return "sock_common";
    case Type::socket:
      return "sock";
    case Type::tcp_socket:
      return "tcp_sock";
  }
  return "";
}

std::string limit_text(uint64_t value, bool is_signed) {
  const auto number = static_cast<int64_t>(value);
  if (is_signed ? number >= INT16_MIN && number <= INT16_MAX : value <= UINT16_MAX) {
    return is_signed ? fmt::format("{}", number) : fmt::format("{}", value);
  }
  return fmt::format("{:#x}", value);
}

// What a reader needs of a range: nothing of a limit that limits nothing, and equal ones together,
// "smin=umin=5".
void add_ranges(std::vector<std::string>& words, const Bounds& number) {
  struct Limit {
    std::string_view name;
    uint64_t value;
    bool omitted;
  };
  const auto& full = number.full;
  const auto& low = number.low;
  const auto wide = [](auto value) { return static_cast<uint64_t>(int64_t{value}); };
  std::array<Limit, 8> limits = {{
      {"smin", wide(full.smin), full.smin == INT64_MIN},
      {"smax", wide(full.smax), full.smax == INT64_MAX},
      {"umin", full.umin, full.umin == 0},
      {"umax", full.umax, full.umax == UINT64_MAX},
      {"smin32", wide(low.smin), low.smin == INT32_MIN},
      {"smax32", wide(low.smax), low.smax == INT32_MAX},
      {"umin32", low.umin, low.umin == 0},
      {"umax32", low.umax, low.umax == UINT32_MAX},
  }};
  const auto is_negative = [](const Limit& limit) {
    return limit.name[0] == 's' && static_cast<int64_t>(limit.value) < 0;
  };
  for (size_t i = 0; i < limits.size(); ++i) {
    if (limits[i].omitted) continue;
    std::string names(limits[i].name);
    for (size_t other = i + 2; other < limits.size(); other += 2) {
      Limit& same = limits[other];
      if (same.omitted || same.value != limits[i].value) continue;
      if (is_negative(same) != is_negative(limits[i])) continue;
      same.omitted = true;
      names += fmt::format("={}", same.name);
    }
    const bool is_signed = limits[i].name[0] == 's';
    words.push_back(fmt::format("{}={}", names, limit_text(limits[i].value, is_signed)));
  }
  if (number.bits != Tnum::unknown()) {
    words.push_back(fmt::format("var_off=({:#x}; {:#x})", number.bits.value, number.bits.mask));
  }
}

}  // namespace

bool Register::is_surely_not_null() const {
  if (maybe_null) return false;
  switch (type) {
    case Type::local_object:
      return reference != 0;
    case Type::kernel_object:
      return reference != 0 || trust == Trust::trusted;
    case Type::map_value:
    case Type::map_key:
    case Type::map:
    case Type::memory:
    case Type::record:
    case Type::socket_common:
    case Type::socket:
    case Type::tcp_socket:
      return true;
    default:
      return false;
  }
}

std::string type_name(const Register& r) {
  // The name of the object's type would follow.
  if (r.type == Type::local_object) {
    return fmt::format("{}ptr_{}", r.trust == Trust::rcu ? "rcu_" : "",
                       r.maybe_null ? "or_null_" : "");
  }
  return fmt::format("{}{}{}{}", r.read_only ? "rdonly_" : "", base_name(r.type),
                     r.maybe_null ? "_or_null" : "", r.type == Type::kernel_object ? "_" : "");
}

std::string describe(const Register& r) {
  if (r.is_scalar() && r.number.is_constant()) {
    return fmt::format("{}{}", r.precise ? "P" : "", static_cast<int64_t>(r.number.bits.value));
  }
  if (r.type == Type::stack && r.number.is_constant()) {
    return r.offset == 0 ? "fp0" : fmt::format("fp{:+d}", r.offset);
  }
  std::vector<std::string> words;
  if (r.id != 0) {
    words.push_back(r.by_delta ? fmt::format("id={}{:+d}", r.id, r.offset)
                               : fmt::format("id={}", r.id));
  }
  if (r.reference != 0) words.push_back(fmt::format("ref_obj_id={}", r.reference));
  if (r.map != nullptr) {
    words.push_back(
        fmt::format("map={},ks={},vs={}", r.map->name, r.map->key_size, r.map->value_size));
  }
  if (r.is_pointer() && r.offset != 0) words.push_back(fmt::format("off={}", r.offset));
  if (r.is_packet()) words.push_back(fmt::format("r={}", r.extent));
  if (r.type == Type::memory || r.type == Type::record) {
    words.push_back(fmt::format("sz={}", r.extent));
  }
  if (r.is_scalar() || !r.number.is_constant()) add_ranges(words, r.number);
  return fmt::format("{}{}({})", r.precise ? "P" : "", type_name(r), fmt::join(words, ","));
}

}  // namespace xnic::vm::verifier
