// Two kernels, one object, the same packets. Left out: contexts other than the one that every
// packet has (no metadata, no mark). Test: tests/sim/comparison_test.cpp.
#include "sim/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

namespace xnic::sim {
namespace {

constexpr uint32_t kRoomBehindPacket = 0x1000;

// Of the witnesses. A choice of one bit stays unseen by all seeds at one packet of 16.
constexpr std::array<uint64_t, 2> kTimesAhead = {1'234'567'891, 8'640'012'345'678'901};  // ns
constexpr uint64_t kOtherSeeds = 4;
constexpr size_t kOtherRuns = 3;

uint64_t monotonic_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::nanoseconds(now).count());
}

std::string hex(const Bytes& bytes) { return fmt::format("{:02x}", fmt::join(bytes, "")); }

}  // namespace

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

Result<Witnesses> call_witnesses(const std::string& path, vm::Engine& engine, uint64_t seed,
                                 const SideOptions& options) {
  Witnesses witnesses;
  const auto call = [&](uint64_t its_seed, uint64_t ahead, const char* reason) -> Result<void> {
    auto side = KernelSide::emulated(path, engine, its_seed, options);
    if (!side) return tl::unexpected(side.error());
    witnesses.ours.push_back({std::move(*side), reason, ahead});
    return {};
  };
  Result<void> called = call(seed, 0, "addresses: two runs here differ among themselves");
  for (const uint64_t ahead : kTimesAhead) {
    if (called) called = call(seed, ahead, "time: at another one it differs here, too");
  }
  for (uint64_t i = 1; i <= kOtherSeeds; ++i) {
    if (called)
      called =
          call(seed + i, 0, "random numbers or hash order: with another seed it differs here, too");
  }
  if (!called) return tl::unexpected(called.error());
  for (size_t i = 0; i < kOtherRuns; ++i) {
    auto side = KernelSide::real(path, options);
    if (!side) return tl::unexpected(side.error());
    witnesses.kernel.push_back(
        {std::move(*side), "time or choice: two runs of Linux differ among themselves"});
  }
  return witnesses;
}

Comparison::Comparison(KernelSide& ours, KernelSide& kernel, ComparisonOptions options,
                       const Witnesses* witnesses)
    : ours_(ours), kernel_(kernel), options_(std::move(options)), witnesses_(witnesses) {
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
    if (!options_.program.empty() && program.name != options_.program) continue;
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
  struct Differing {
    uint64_t packet;
    RunAnswer ours;
    RunAnswer kernel;
  };
  std::vector<Differing> differing;
  OpenFields& open = open_in_programs_[kernel.name];
  const auto ask = [&](const std::vector<Witness>& witnesses, const RunRequest& request,
                       const RunAnswer& answer, uint64_t now) {
    for (const Witness& witness : witnesses) {
      const SideProgram* program = witness.side->program(kernel.name);
      witness.side->set_clock(now + witness.clock_ahead_ns);
      open.learn(answer, witness.side->run(*program, request), witness.reason);
    }
  };
  for (const NumberedPacket& packet : packets) {
    const RunRequest request = request_for(packet.bytes, kernel.type);
    const uint64_t now = monotonic_ns();
    ours_.set_clock(now);
    RunAnswer our_answer = ours_.run(ours, request);
    RunAnswer answer = kernel_.run(kernel, request);
    if (witnesses_ != nullptr) {
      ask(witnesses_->ours, request, our_answer, now);
      ask(witnesses_->kernel, request, answer, now);
    }
    if (answer.error != 0 && our_answer.error == answer.error) {
      refused(kernel.name, capture, packet.number, answer.error);
    } else {
      ++result_.compared;
    }
    if (our_answer != answer) {
      differing.push_back({packet.number, std::move(our_answer), std::move(answer)});
    }
  }
  for (const Differing& pair : differing) {
    for (FieldDifference& found : differences(pair.ours, pair.kernel)) {
      std::string reason = open.excuse(found, pair.ours, pair.kernel);
      report({.capture = capture,
              .program = kernel.name,
              .packet = pair.packet,
              .field = std::move(found.field),
              .offset = found.offset,
              .ours = std::move(found.ours),
              .kernel = std::move(found.kernel)},
             std::move(reason));
    }
  }
}

void Comparison::compare_map(const SideMap& ours, const SideMap& kernel,
                             const std::string& capture) {
  if (kernel.max_entries > options_.largest_map) {
    leave_out_map(kernel.name, "it has too many entries");
    return;
  }
  const auto our_entries = ours_.contents(ours);
  auto entries = kernel_.contents(kernel);
  const vm::Map* emulated = ours_.emulated_map(ours);
  if (entries && emulated != nullptr) {
    entries = without_list_heads(std::move(*entries), *emulated);
  }
  if (!our_entries || !entries) {
    leave_out_map(kernel.name, "bpf(2) cannot list what maps of this type hold");
    return;
  }
  ++result_.maps;
  result_.map_entries += entries->size();
  OpenFields& open = open_in_maps_[kernel.name];
  const auto ask = [&](const std::vector<Witness>& witnesses, const MapContents& contents) {
    for (const Witness& witness : witnesses) {
      const auto others = witness.side->contents(*witness.side->map(kernel.name));
      open.learn(contents, others.value_or(MapContents{}), witness.reason);
    }
  };
  if (witnesses_ != nullptr) {
    ask(witnesses_->ours, *our_entries);
    ask(witnesses_->kernel, *entries);
  }
  const auto found = [&](const Bytes& key, std::optional<size_t> offset, std::string in_ours,
                         std::string in_kernel, std::string reason) {
    report({.capture = capture,
            .program = {},
            .field = "map " + kernel.name,
            .key = hex(key),
            .offset = offset,
            .ours = std::move(in_ours),
            .kernel = std::move(in_kernel)},
           std::move(reason));
  };
  constexpr const char* kNoKey = "no such key";
  for (const auto& [key, value] : *entries) {
    const auto at = our_entries->find(key);
    if (at == our_entries->end()) {
      found(key, {}, kNoKey, shown_from(value, 0), open.excuse_key());
    } else if (at->second != value) {
      size_t offset = 0;
      std::string reason = open.excuse_value(at->second, value, offset);
      found(key, offset, shown_from(at->second, offset), shown_from(value, offset),
            std::move(reason));
    }
  }
  for (const auto& [key, value] : *our_entries) {
    if (!entries->contains(key)) found(key, {}, shown_from(value, 0), kNoKey, open.excuse_key());
  }
}

void Comparison::report(Difference difference, std::string reason) {
  difference.reason = std::move(reason);
  (difference.reason.empty() ? result_.differences : result_.excused)
      .push_back(std::move(difference));
}

void Comparison::leave_out_map(const std::string& name, std::string reason) {
  auto& list = result_.not_comparable;
  const auto known = [&](const NotComparable& n) { return n.what == "map" && n.name == name; };
  if (std::none_of(list.begin(), list.end(), known)) {
    list.push_back({.what = "map", .name = name, .reason = std::move(reason)});
  }
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
