// Left out: which packets leave a field open: where it was seen to vary, it is excused for all of
// the program. Bytes that are fixed on either side but not the same, as the highest of an address,
// are never learnt. Test:
// tests/sim/comparison_test.cpp.
#include "sim/open_fields.h"

#include <algorithm>

namespace xnic::sim {
namespace {

constexpr const char* kKeys = "keys";
constexpr const char* kValues = "values";

const Bytes& bytes_of(const RunAnswer& answer, std::string_view field) {
  return field == "data" ? answer.data : answer.context;
}

// Calls `visit` with each offset at which the two differ, also where one ends before the other,
// until it says false.
template <class Visit>
void for_each_difference(const Bytes& one, const Bytes& other, Visit visit) {
  for (size_t i = 0; i < std::max(one.size(), other.size()); ++i) {
    const bool same = i < std::min(one.size(), other.size()) && one[i] == other[i];
    if (!same && !visit(i)) return;
  }
}

}  // namespace

void OpenFields::learn(const RunAnswer& one, const RunAnswer& other, std::string_view reason) {
  for (const FieldDifference& found : differences(one, other)) {
    if (found.offset) {
      learn_bytes(found.field, bytes_of(one, found.field), bytes_of(other, found.field), reason);
    } else {
      numbers_.emplace(found.field, reason);
    }
  }
}

void OpenFields::learn(const MapContents& one, const MapContents& other, std::string_view reason) {
  for (const auto& [key, value] : one) {
    const auto at = other.find(key);
    if (at == other.end()) {
      numbers_.emplace(kKeys, reason);
    } else if (at->second != value) {
      learn_bytes(kValues, value, at->second, reason);
    }
  }
  if (one.size() != other.size()) numbers_.emplace(kKeys, reason);
}

std::string OpenFields::excuse(FieldDifference& difference, const RunAnswer& ours,
                               const RunAnswer& kernel) const {
  if (!difference.offset) return excuse_number(difference.field);
  const Bytes& our_bytes = bytes_of(ours, difference.field);
  const Bytes& bytes = bytes_of(kernel, difference.field);
  std::string reason = excuse_bytes(difference.field, our_bytes, bytes, *difference.offset);
  difference.ours = shown_from(our_bytes, *difference.offset);
  difference.kernel = shown_from(bytes, *difference.offset);
  return reason;
}

std::string OpenFields::excuse_key() const { return excuse_number(kKeys); }

std::string OpenFields::excuse_value(const Bytes& ours, const Bytes& kernel, size_t& offset) const {
  return excuse_bytes(kValues, ours, kernel, offset);
}

void OpenFields::learn_bytes(const std::string& field, const Bytes& one, const Bytes& other,
                             std::string_view reason) {
  for_each_difference(one, other, [&](size_t offset) {
    bytes_[field].emplace(offset, reason);
    return true;
  });
}

std::string OpenFields::excuse_number(const std::string& field) const {
  const auto found = numbers_.find(field);
  return found == numbers_.end() ? "" : found->second;
}

std::string OpenFields::excuse_bytes(const std::string& field, const Bytes& ours,
                                     const Bytes& kernel, size_t& offset) const {
  offset = first_difference(ours, kernel);
  const auto open = bytes_.find(field);
  if (open == bytes_.end()) return {};
  std::string reason;
  for_each_difference(ours, kernel, [&](size_t at) {
    const auto found = open->second.find(at);
    if (found == open->second.end()) {
      offset = at;
      reason.clear();
      return false;
    }
    if (reason.empty()) reason = found->second;
    return true;
  });
  return reason;
}

}  // namespace xnic::sim
