// Two kernels, one object, the same packets. Left out: contexts other than the one that every
// packet has (no metadata, no mark). Test: tests/sim/comparison_test.cpp.
#include "sim/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sim/excuse.h"

namespace xnic::sim {
namespace {

constexpr size_t kShownBytes = 16;
constexpr uint32_t kRoomBehindPacket = 0x1000;

std::string hex(std::span<const uint8_t> bytes) {
  return fmt::format("{:02x}", fmt::join(bytes.begin(), bytes.end(), ""));
}

std::string shown_from(const Bytes& bytes, size_t offset) {
  const std::span<const uint8_t> rest = std::span(bytes).subspan(std::min(offset, bytes.size()));
  return hex(rest.first(std::min(rest.size(), kShownBytes)));
}

size_t first_difference(const Bytes& a, const Bytes& b) {
  const auto at = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(at.first - a.begin());
}

FieldDifference in_bytes(std::string field, const Bytes& ours, const Bytes& kernel) {
  const size_t offset = first_difference(ours, kernel);
  return {std::move(field), offset, shown_from(ours, offset), shown_from(kernel, offset)};
}

FieldDifference in_number(std::string field, int64_t ours, int64_t kernel) {
  return {std::move(field), {}, fmt::format("{}", ours), fmt::format("{}", kernel)};
}

}  // namespace

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

RunRequest request_for(const Bytes& packet, bpf_prog_type type) {
  RunRequest request;
  request.data = packet;
  request.data_room = static_cast<uint32_t>(packet.size()) + kRoomBehindPacket;
  if (type != BPF_PROG_TYPE_XDP) {
    request.context_room = sizeof(__sk_buff);
    return request;
  }
  // Who wants the context back and gives none has given one of zeros, and with it an empty packet.
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(packet.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(&context);
  request.context.assign(bytes, bytes + sizeof context);
  request.context_room = sizeof context;
  return request;
}

Comparison::Comparison(KernelSide& ours, KernelSide& kernel, std::string program)
    : ours_(ours), kernel_(kernel), program_(std::move(program)) {
  for (const LeftOut& other : kernel_.left_out()) {
    result_.not_comparable.push_back(
        {.what = "program",
         .name = other.name,
         .reason =
             fmt::format("{} (section {}, type {})", other.reason, other.section, other.type)});
  }
}

void Comparison::run(const std::string& capture, std::span<const NumberedPacket> packets) {
  for (const SideProgram& program : kernel_.programs()) {
    if (!program_.empty() && program.name != program_) continue;
    const SideProgram* ours = ours_.program(program.name);
    if (ours != nullptr) run_program(*ours, program, capture, packets);
  }
  for (const SideMap& map : kernel_.maps()) {
    const SideMap* ours = ours_.map(map.name);
    if (ours != nullptr) compare_map(*ours, map, capture);
  }
}

void Comparison::run_program(const SideProgram& ours, const SideProgram& kernel,
                             const std::string& capture, std::span<const NumberedPacket> packets) {
  std::string excuse = excuse_for_program(kernel_, kernel);
  for (const NumberedPacket& packet : packets) {
    const RunRequest request = request_for(packet.bytes, kernel.type);
    const RunAnswer our_answer = ours_.run(ours, request);
    const RunAnswer answer = kernel_.run(kernel, request);
    if (answer.error != 0 && our_answer.error == answer.error) {
      refused(kernel.name, capture, packet.number, answer.error);
    } else {
      ++result_.compared;
    }
    for (FieldDifference& found : differences(our_answer, answer)) {
      if (excuse.empty()) excuse = excuse_for_evictions(kernel_, kernel);
      // No choice of a program reaches the errno of BPF_PROG_TEST_RUN.
      const bool excusable = found.field != "errno";
      report({.capture = capture,
              .program = kernel.name,
              .packet = packet.number,
              .field = std::move(found.field),
              .offset = found.offset,
              .ours = std::move(found.ours),
              .kernel = std::move(found.kernel)},
             excusable ? excuse : "");
    }
  }
}

void Comparison::compare_map(const SideMap& ours, const SideMap& kernel,
                             const std::string& capture) {
  const auto our_entries = ours_.contents(ours);
  const auto entries = kernel_.contents(kernel);
  if (!our_entries || !entries) {
    const auto known = [&](const NotComparable& n) {
      return n.what == "map" && n.name == kernel.name;
    };
    auto& list = result_.not_comparable;
    if (std::none_of(list.begin(), list.end(), known)) {
      list.push_back({.what = "map",
                      .name = kernel.name,
                      .reason = "bpf(2) cannot list what maps of this type hold"});
    }
    return;
  }
  ++result_.maps;
  result_.map_entries += entries->size();
  const std::string excuse =
      excuse_for_map(kernel_, kernel, std::max(our_entries->size(), entries->size()));
  const auto found = [&](const Bytes& key, std::optional<size_t> offset, std::string in_ours,
                         std::string in_kernel) {
    report({.capture = capture,
            .program = {},
            .field = "map " + kernel.name,
            .key = hex(key),
            .offset = offset,
            .ours = std::move(in_ours),
            .kernel = std::move(in_kernel)},
           excuse);
  };
  for (const auto& [key, value] : *entries) {
    const auto at = our_entries->find(key);
    if (at == our_entries->end()) {
      found(key, {}, "no such key", shown_from(value, 0));
    } else if (at->second != value) {
      const size_t offset = first_difference(at->second, value);
      found(key, offset, shown_from(at->second, offset), shown_from(value, offset));
    }
  }
  for (const auto& [key, value] : *our_entries) {
    if (!entries->contains(key)) found(key, {}, shown_from(value, 0), "no such key");
  }
}

void Comparison::report(Difference difference, const std::string& reason) {
  difference.reason = reason;
  (reason.empty() ? result_.differences : result_.excused).push_back(std::move(difference));
}

void Comparison::refused(const std::string& program, const std::string& capture, uint64_t packet,
                         long error) {
  auto& list = result_.not_comparable;
  const auto same = std::find_if(list.begin(), list.end(), [&](const NotComparable& n) {
    return n.what == "packets" && n.name == program && n.capture == capture && n.error == error;
  });
  if (same != list.end()) {
    ++same->packets;
    return;
  }
  list.push_back({.what = "packets",
                  .name = program,
                  .capture = capture,
                  .packets = 1,
                  .first_packet = packet,
                  .error = error,
                  .reason = fmt::format("BPF_PROG_TEST_RUN refuses them: {}",
                                        std::strerror(static_cast<int>(-error)))});
}

}  // namespace xnic::sim
