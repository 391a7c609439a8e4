#include "tests/support/bpf_host.h"

#include <fmt/format.h>

#include <ostream>

namespace xnic::test {

std::string difference(const RunAnswer& ours, const RunAnswer& theirs) {
  const auto found = sim::differences(ours, theirs);
  if (found.empty()) return {};
  const sim::FieldDifference& first = found.front();
  const std::string place = first.offset ? fmt::format(" from byte {}", *first.offset) : "";
  return fmt::format("{}{}: xnic {}, Linux {}", first.field, place, first.ours, first.kernel);
}

}  // namespace xnic::test

namespace xnic::sim {

void PrintTo(const RunAnswer& answer, std::ostream* out) {
  *out << "errno " << answer.error << ", retval " << static_cast<int32_t>(answer.code) << ", "
       << answer.data_size << " bytes";
}

}  // namespace xnic::sim
