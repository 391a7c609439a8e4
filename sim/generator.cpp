// Pacing is by the cycle counter: a frame is due at its number divided by the rate, whatever
// happened to those before, so that errors do not add up. Test: tests/sim/generator_test.cpp,
// tests/sim/line_traffic_test.cpp.
#include "sim/generator.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>

#include "nic/cycles.h"
#include "nic/mac.h"
#include "traces/reader.h"

namespace xnic::sim {
namespace {

constexpr size_t kBurst = 32;
constexpr uint32_t kThread = 0;          // at the ports
constexpr uint32_t kShortestFrame = 64;  // FCS counted
constexpr uint32_t kLongestFrame = 1518;
constexpr uint16_t kFlows = 256;
// How long nothing has to come back before what is missing counts as lost (RFC 2544, section 23).
constexpr auto kSilence = std::chrono::seconds(2);
constexpr std::array<uint8_t, 2> kMark = {'x', 'n'};
constexpr size_t kSequenceBytes = 6;

// One frame of IPv4 and UDP, `length` bytes without FCS (RFC 791, RFC 768; the UDP checksum is left
// out, as it may be).
std::vector<uint8_t> udp_frame(uint32_t length, const vm::MacAddress& source, uint16_t flow) {
  constexpr uint32_t kIp = 14;
  constexpr uint32_t kUdp = kIp + 20;
  std::vector<uint8_t> frame(length);
  const auto put16 = [&](size_t at, uint32_t value) {
    frame[at] = static_cast<uint8_t>(value >> 8);
    frame[at + 1] = static_cast<uint8_t>(value);
  };
  const vm::MacAddress target = {0x02, 0, 0, 0, 0, 0xfe};
  std::copy(target.begin(), target.end(), frame.begin());
  std::copy(source.begin(), source.end(), frame.begin() + 6);
  put16(12, 0x0800);
  frame[kIp] = 0x45;
  put16(kIp + 2, length - kIp);
  frame[kIp + 8] = 64;  // TTL
  frame[kIp + 9] = 17;  // UDP
  // 198.18.0.0/15 is for such tests (RFC 2544).
  const std::array<uint8_t, 8> addresses = {198, 18, 0, 1, 198, 19, 0, 1};
  std::copy(addresses.begin(), addresses.end(), frame.begin() + kIp + 12);
  uint32_t sum = 0;
  for (size_t at = kIp; at < kUdp; at += 2) sum += uint32_t{frame[at]} << 8 | frame[at + 1];
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  put16(kIp + 10, ~sum);
  put16(kUdp, 1024u + flow);
  put16(kUdp + 2, 9);  // discard
  put16(kUdp + 4, length - kUdp);
  return frame;
}

Result<Traffic> read_capture(const std::string& path) {
  auto reader = traces::Reader::open(path, "");
  if (!reader) return tl::unexpected(reader.error());
  Traffic traffic;
  traces::Record record;
  for (;;) {
    const auto more = (*reader)->next(record);
    if (!more) return tl::unexpected(more.error());
    if (!*more) break;
    if (record.bytes.size() < vm::kEthernetHeader) continue;
    if (record.bytes.size() > vm::kLinearSize) {
      return fail(ExitCode::bad_input, "{}: frame {} has {} bytes; ports send at most {}", path,
                  traffic.size() + 1, record.bytes.size(), vm::kLinearSize);
    }
    traffic.emplace_back(record.bytes.begin(), record.bytes.end());
  }
  if (traffic.empty()) return fail(ExitCode::bad_input, "{}: has no frame to send", path);
  return traffic;
}

}  // namespace

Result<Traffic> make_traffic(const std::string& what, const vm::MacAddress& source) {
  std::vector<uint32_t> lengths;
  if (what == "imix") {
    lengths = {64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64};
  } else {
    uint32_t length = 0;
    const auto [end, error] = std::from_chars(what.data(), what.data() + what.size(), length);
    if (error != std::errc() || end != what.data() + what.size()) return read_capture(what);
    if (length < kShortestFrame || length > kLongestFrame) {
      return fail(ExitCode::usage, "--generate {}: frames have {} to {} bytes, FCS counted", what,
                  kShortestFrame, kLongestFrame);
    }
    lengths = {length};
  }
  Traffic traffic;
  for (uint16_t flow = 0; flow < kFlows; ++flow) {
    for (const uint32_t length : lengths) {
      traffic.push_back(udp_frame(length - nic::kFrameCheckBytes, source, flow));
    }
  }
  return traffic;
}

void put_tag(std::span<uint8_t> frame, const FrameTag& tag) {
  uint8_t* at = frame.data() + frame.size() - FrameTag::kBytes;
  std::memcpy(at, kMark.data(), kMark.size());
  std::memcpy(at + kMark.size(), &tag.sequence, kSequenceBytes);
  std::memcpy(at + kMark.size() + kSequenceBytes, &tag.sent, sizeof tag.sent);
}

std::optional<FrameTag> tag_of(std::span<const uint8_t> frame) {
  if (frame.size() < FrameTag::kBytes) return std::nullopt;
  const uint8_t* at = frame.data() + frame.size() - FrameTag::kBytes;
  if (std::memcmp(at, kMark.data(), kMark.size()) != 0) return std::nullopt;
  FrameTag tag{};
  std::memcpy(&tag.sequence, at + kMark.size(), kSequenceBytes);
  std::memcpy(&tag.sent, at + kMark.size() + kSequenceBytes, sizeof tag.sent);
  return tag;
}

std::optional<double> frames_per_second(const traces::Rate& rate, double wire_bits, uint32_t mbps) {
  constexpr double kMega = 1e6;
  switch (rate.unit) {
    case traces::Rate::packets_per_second:
      return rate.value;
    case traces::Rate::bits_per_second:
      return rate.value / wire_bits;
    case traces::Rate::percent:
      break;
  }
  if (mbps == 0) return std::nullopt;
  return rate.value / 100 * mbps * kMega / wire_bits;
}

double Generator::wire_bits() const {
  double bits = 0;
  for (const auto& frame : traffic_) bits += static_cast<double>(traces::wire_bits(frame.size()));
  return bits / static_cast<double>(traffic_.size());
}

// Which sequence numbers of a trial came back: a bit each, as far as the latest, grown as needed.
class Generator::Seen {
 public:
  // False if it was there already.
  bool note(uint64_t index) {
    const size_t word = index / 64;
    if (word >= words_.size()) words_.resize(std::max(word + 1, words_.size() * 2));
    const uint64_t bit = uint64_t{1} << index % 64;
    if ((words_[word] & bit) != 0) return false;
    words_[word] |= bit;
    return true;
  }
  uint64_t latest = 0;  // of those that came, plus 1

 private:
  std::vector<uint64_t> words_ = std::vector<uint64_t>(1 << 12);
};

TrialResult Generator::run(const TrialOptions& options, const std::atomic<bool>& stop) {
  using Clock = std::chrono::steady_clock;
  TrialResult result;
  Latencies latencies;
  Seen seen;
  first_ = next_;
  const auto began = Clock::now();
  const uint64_t first_cycle = nic::cycles_now();
  // Calibrated while waiting: a cycle of the counter is no cycle of the CPU.
  while (Clock::now() - began < std::chrono::milliseconds(5)) {
  }
  const auto span = std::chrono::duration<double>(Clock::now() - began);
  const double cycles_a_second =
      static_cast<double>(nic::cycles_now() - first_cycle) / span.count();
  const double picoseconds_a_cycle = 1e12 / cycles_a_second;
  const uint64_t start = nic::cycles_now();
  const auto end = start + static_cast<uint64_t>(static_cast<double>(options.duration_ns) * 1e-9 *
                                                 cycles_a_second);
  const double frames_a_cycle =
      options.rate ? *options.rate / cycles_a_second : static_cast<double>(UINT64_MAX);
  uint64_t now = start;
  while (now < end && result.sent < options.frames && !stop.load(std::memory_order_relaxed)) {
    const double due = static_cast<double>(now - start) * frames_a_cycle + 1;
    const uint64_t behind =
        due >= static_cast<double>(options.frames)
            ? options.frames - result.sent
            : static_cast<uint64_t>(due) - std::min(result.sent, static_cast<uint64_t>(due));
    if (behind != 0) {
      result.sent += send(options, std::min<uint64_t>(behind, kBurst), now);
      // What the port does not take was sent, and is lost.
      static_cast<void>(tx_.flush(kThread));
    }
    receive(options, seen, result, latencies, picoseconds_a_cycle);
    now = nic::cycles_now();
  }
  result.seconds = static_cast<double>(now - start) / cycles_a_second;
  for (auto last = Clock::now();
       result.received < result.sent && Clock::now() - last < kSilence && !stop;) {
    if (receive(options, seen, result, latencies, picoseconds_a_cycle) != 0) last = Clock::now();
  }
  result.latency = latencies.summary();
  return result;
}

// Gives how many could be made.
size_t Generator::send(const TrialOptions& options, size_t count, uint64_t now) {
  for (size_t i = 0; i < count; ++i) {
    const auto& frame = traffic_[(next_ - first_) % traffic_.size()];
    nic::PortFrame* made = tx_.make(static_cast<uint32_t>(frame.size()));
    if (made == nullptr) return i;
    const std::span<uint8_t> bytes = tx_.bytes(made);
    std::copy(frame.begin(), frame.end(), bytes.begin());
    if (bytes.size() >= FrameTag::kShortest) {
      put_tag(bytes, {.sequence = next_, .sent = options.timestamps ? now : 0});
    }
    ++next_;
    tx_.send(kThread, made);
  }
  return count;
}

size_t Generator::receive(const TrialOptions& options, Seen& seen, TrialResult& result,
                          Latencies& latencies, double picoseconds_a_cycle) {
  std::array<nic::PortFrame*, kBurst> frames;
  const size_t got = rx_.receive(0, frames);
  if (got == 0) return 0;
  const uint64_t now = nic::cycles_now();
  for (nic::PortFrame* frame : std::span(frames).first(got)) {
    const std::span<const uint8_t> bytes = rx_.bytes(frame);
    if (options.received) options.received(bytes);
    const auto tag = tag_of(bytes);
    if (!tag) {
      // Of traffic with frames too short for a tag; else somebody else's.
      const bool may_be_ours = std::ranges::any_of(
          traffic_, [](const auto& sent) { return sent.size() < FrameTag::kShortest; });
      ++(may_be_ours ? result.received : result.strange);
      continue;
    }
    if (tag->sequence < first_ || tag->sequence >= next_) {
      ++result.strange;
      continue;
    }
    const uint64_t index = tag->sequence - first_;
    if (!seen.note(index)) {
      ++result.duplicated;
      continue;
    }
    ++result.received;
    if (index + 1 < seen.latest) ++result.reordered;
    seen.latest = std::max(seen.latest, index + 1);
    if (options.timestamps && now > tag->sent) {
      latencies.add(
          static_cast<uint64_t>(static_cast<double>(now - tag->sent) * picoseconds_a_cycle));
    }
  }
  rx_.free(std::span<nic::PortFrame* const>(frames).first(got));
  return got;
}

}  // namespace xnic::sim
