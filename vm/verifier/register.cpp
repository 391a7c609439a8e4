#include "vm/verifier/register.h"

#include <fmt/format.h>

#include <limits>
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
    case Type::socket_common:
      return "sock_common";
    case Type::socket:
      return "sock";
    case Type::tcp_socket:
      return "tcp_sock";
  }
  return "";
}

// What a reader needs of a range; nothing of one that is unlimited.
void add_ranges(std::vector<std::string>& words, const Bounds& number) {
  const auto add = [&](std::string_view name, auto value, bool limits) {
    if (limits) words.push_back(fmt::format("{}={}", name, value));
  };
  const auto& full = number.full;
  const auto& low = number.low;
  add("smin", full.smin, full.smin != std::numeric_limits<int64_t>::min());
  add("smax", full.smax, full.smax != std::numeric_limits<int64_t>::max());
  add("umin", full.umin, full.umin != 0 && full.umin != static_cast<uint64_t>(full.smin));
  add("umax", full.umax, full.umax != UINT64_MAX && full.umax != static_cast<uint64_t>(full.smax));
  const bool low_says_more = !number.fits_in_32_bits();
  add("smin32", low.smin, low_says_more && low.smin != INT32_MIN);
  add("smax32", low.smax, low_says_more && low.smax != INT32_MAX);
  add("umin32", low.umin, low_says_more && low.umin != 0);
  add("umax32", low.umax, low_says_more && low.umax != UINT32_MAX);
  if (number.bits != Tnum::unknown()) {
    words.push_back(fmt::format("var_off=({:#x}; {:#x})", number.bits.value, number.bits.mask));
  }
}

}  // namespace

bool Register::is_surely_not_null() const {
  if (maybe_null) return false;
  switch (type) {
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
  return fmt::format("{}{}{}", r.read_only ? "rdonly_" : "", base_name(r.type),
                     r.maybe_null ? "_or_null" : "");
}

std::string describe(const Register& r) {
  if (r.is_scalar() && r.number.is_constant()) {
    return fmt::format("{}{}", r.precise ? "P" : "", static_cast<int64_t>(r.number.bits.value));
  }
  if (r.type == Type::stack && r.number.is_constant()) return fmt::format("fp{:+d}", r.offset);
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
