// Test: tests/sim/comparison_test.cpp.
#include "sim/run_answer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>

namespace xnic::sim {
namespace {

constexpr size_t kShownBytes = 16;

FieldDifference in_bytes(std::string field, const Bytes& ours, const Bytes& kernel) {
  const size_t offset = first_difference(ours, kernel);
  return {std::move(field), offset, shown_from(ours, offset), shown_from(kernel, offset)};
}

FieldDifference in_number(std::string field, int64_t ours, int64_t kernel) {
  return {std::move(field), {}, fmt::format("{}", ours), fmt::format("{}", kernel)};
}

}  // namespace

std::string shown_from(const Bytes& bytes, size_t offset) {
  const std::span<const uint8_t> rest = std::span(bytes).subspan(std::min(offset, bytes.size()));
  return fmt::format("{:02x}", fmt::join(rest.first(std::min(rest.size(), kShownBytes)), ""));
}

size_t first_difference(const Bytes& a, const Bytes& b) {
  const auto at = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(at.first - a.begin());
}

std::vector<FieldDifference> differences(const RunAnswer& ours, const RunAnswer& kernel) {
  if (ours.error != kernel.error) return {in_number("errno", ours.error, kernel.error)};
  std::vector<FieldDifference> found;
  if (ours.code != kernel.code) {
    found.push_back(in_number("return_code", static_cast<int32_t>(ours.code),
                              static_cast<int32_t>(kernel.code)));
  }
  if (ours.data_size != kernel.data_size) {
    found.push_back(in_number("data_size", ours.data_size, kernel.data_size));
  }
  if (ours.data != kernel.data) found.push_back(in_bytes("data", ours.data, kernel.data));
  if (ours.context_size != kernel.context_size) {
    found.push_back(in_number("context_size", ours.context_size, kernel.context_size));
  }
  if (ours.context != kernel.context) {
    found.push_back(in_bytes("context", ours.context, kernel.context));
  }
  return found;
}

}  // namespace xnic::sim
