// The pace of a replay: capture timestamps or a rate, on a 64-bit picosecond clock.
// Leaves out the link itself: frames may come closer than they fit on the wire, which the MAC model
// spreads out.
// Test: tests/traces/player_test.cpp.
#include "traces/player.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cctype>
#include <charconv>
#include <cmath>
#include <string>

namespace xnic::traces {
namespace {

constexpr uint64_t kMicro = 1'000'000;
// Bounds between which a rate fits in 64 bits of millionths.
constexpr double kMinRate = 1e-6;
constexpr double kMaxRate = 1e13;

// A bit at 1 Gb/s takes 1,000 ps. A link so slow that the clock ends within a frame saturates.
uint64_t wire_ps(uint64_t bits, double link_gbps) {
  const double time = std::round(static_cast<double>(bits) * 1000 / link_gbps);
  return time < static_cast<double>(kEndOfTime) ? static_cast<uint64_t>(time) : kEndOfTime;
}

}  // namespace

uint64_t wire_bits(size_t bytes) {
  constexpr size_t kMinFrame = 60;
  constexpr size_t kOverhead = 4 + 8 + 12;
  return (std::max(bytes, kMinFrame) + kOverhead) * 8;
}

Result<Rate> parse_rate(std::string_view text) {
  Rate rate;
  const char* end = text.data() + text.size();
  const auto [rest, error] =
      std::from_chars(text.data(), end, rate.value, std::chars_format::fixed);
  const auto refuse = [&](std::string_view why) {
    return fail(ExitCode::usage, "The rate \"{}\" {}; give for example 10Gbps, 14.88Mpps or 100%.",
                text, why);
  };
  if (error != std::errc() || !std::isfinite(rate.value)) return refuse("is not a number");

  std::string unit(rest, end);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<uint8_t>(c))); });
  if (unit == "%") {
    rate.unit = Rate::percent;
  } else {
    constexpr std::array<std::pair<char, double>, 4> kPrefixes = {
        {{'k', 1e3}, {'m', 1e6}, {'g', 1e9}, {'t', 1e12}}};
    for (const auto& [prefix, factor] : kPrefixes) {
      if (unit.empty() || unit.front() != prefix) continue;
      rate.value *= factor;
      unit.erase(0, 1);
      break;
    }
    if (unit == "bps") {
      rate.unit = Rate::bits_per_second;
    } else if (unit == "pps") {
      rate.unit = Rate::packets_per_second;
    } else {
      return refuse("has no known unit");
    }
  }
  if (!(rate.value > 0)) return refuse("is not above zero");
  if (rate.unit == Rate::percent && rate.value > 100)
    return refuse("is more than the link carries");
  if (rate.value < kMinRate) return refuse("is too low");
  if (rate.value > kMaxRate) return refuse("is too high");
  return rate;
}

Player::Player(Reader& reader, const PlayerOptions& options) : reader_(reader), options_(options) {
  assert(options_.link_gbps > 0 && options_.loops >= 1);
  if (!options_.rate) return;
  const Rate& rate = *options_.rate;
  by_packets_ = rate.unit == Rate::packets_per_second;
  const double per_second =
      rate.unit == Rate::percent ? options_.link_gbps * 1e9 * rate.value / 100 : rate.value;
  // Millionths a second.
  rate_time_ = RateTime(static_cast<uint64_t>(
      std::llround(std::clamp(per_second, kMinRate, kMaxRate) * static_cast<double>(kMicro))));
}

// A quotient fits in 128 bits: the clock ends far below that.
void Player::RateTime::divide(uint64_t units) {
  constexpr Wide kPicosecondsMicro = Wide{1'000'000'000'000} * kMicro;
  const Wide dividend = units * kPicosecondsMicro;
  last_units_ = units;
  last_quotient_ = dividend / rate_;
  last_remainder_ = static_cast<uint64_t>(dividend - last_quotient_ * rate_);
}

// Gives the frame its number and its time on the clock; false, with failure_, at the clock's end.
inline bool Player::send(Frame& frame, Wide offset_ps) {
  const Wide time_ps = options_.rate ? rate_time_.now() : loop_start_ps_ + offset_ps;
  if (time_ps >= kEndOfTime) [[unlikely]] {
    failure_ = too_late();
    return false;
  }
  frame.id = ++count_;
  frame.time_ps = last_time_ps_ = static_cast<uint64_t>(time_ps);
  last_bits_ = wire_bits(frame.bytes.size());
  if (options_.rate) rate_time_.add(by_packets_ ? 1 : last_bits_);
  return true;
}

// From the start of the capture.
inline Player::Wide Player::capture_time(const Record& record) {
  if (first_) {
    latest_ns_ = record.timestamp_ns;
    first_ = false;
  } else if (record.timestamp_ns < latest_ns_) {
    ++backwards_;
  } else {
    // Unsigned, for timestamps further apart than 2^63.
    uint64_t gap_ns =
        static_cast<uint64_t>(record.timestamp_ns) - static_cast<uint64_t>(latest_ns_);
    if (gap_ns > options_.max_gap_ns) {
      ++shortened_gaps_;
      gap_ns = options_.max_gap_ns;
    }
    offset_ps_ += Wide{gap_ns} * 1000;
    latest_ns_ = record.timestamp_ns;
  }
  return offset_ps_;
}

Result<void> Player::store(const Record& record, Wide offset_ps) {
  const uint64_t needed =
      memory_.size() + record.bytes.size() + (stored_.size() + 1) * sizeof(Stored);
  if (needed > options_.memory_bytes) {
    return fail(ExitCode::bad_input,
                "{} does not fit in memory, where a capture that is played more than once is kept: "
                "its first {} packets take all {} MiB; play it once, or less of it (a filter).",
                reader_.path(), stored_.size(), options_.memory_bytes >> 20);
  }
  stored_.push_back({offset_ps, memory_.size(), record.bytes.size(), record.original_length,
                     record.timestamp_ns, record.source});
  memory_.insert(memory_.end(), record.bytes.begin(), record.bytes.end());
  return {};
}

Error Player::too_late() const {
  return fail(ExitCode::bad_input,
              "Packet {} of {} would be sent after more than 203 days, and the simulated clock of "
              "64-bit picoseconds ends soon after; raise the rate, or lower the loops or the "
              "longest gap.",
              count_ + 1, reader_.path())
      .value();
}

void Player::start_loop() {
  ++loop_;
  position_ = 0;
  loop_start_ps_ = Wide{last_time_ps_} + wire_ps(last_bits_, options_.link_gbps);
}

// From the capture, in the first loop.
Result<size_t> Player::read(std::span<Frame> frames) {
  const auto got =
      reader_.next_burst(std::span(records_).first(std::min(frames.size(), records_.size())));
  if (!got) return got;
  for (size_t i = 0; i < *got; ++i) {
    const Record& record = records_[i];
    const Wide offset_ps = capture_time(record);
    Frame& frame = frames[i];
    frame.bytes = record.bytes;
    frame.original_length = record.original_length;
    frame.timestamp_ns = record.timestamp_ns;
    frame.source = record.source;
    if (options_.loops > 1) {
      if (const auto stored = store(record, offset_ps); !stored) {
        failure_ = stored.error();
        return i;
      }
    }
    if (!send(frame, offset_ps)) return i;
  }
  return got;
}

// From memory, in the second loop and later.
size_t Player::repeat(std::span<Frame> frames) {
  size_t count = 0;
  while (count < frames.size() && !stored_.empty()) {
    if (position_ == stored_.size()) {
      if (loop_ >= options_.loops) break;
      start_loop();
    }
    const Stored& stored = stored_[position_++];
    Frame& frame = frames[count];
    frame.bytes = std::span(memory_).subspan(stored.begin, stored.size);
    frame.original_length = stored.original_length;
    frame.timestamp_ns = stored.timestamp_ns;
    frame.source = stored.source;
    if (!send(frame, stored.offset_ps)) break;
    ++count;
  }
  return count;
}

Result<size_t> Player::next_burst(std::span<Frame> frames) {
  if (failure_) return tl::unexpected<Error>(*failure_);
  auto got = size_t{0};
  if (loop_ == 1) {
    const auto read_now = read(frames);
    if (!read_now) return read_now;
    got = *read_now;
    if (got == 0 && !failure_ && !stored_.empty()) start_loop();
  }
  if (loop_ > 1) got = repeat(frames);
  if (got == 0 && failure_) return tl::unexpected<Error>(*failure_);
  return got;
}

Result<bool> Player::next(Frame& frame) {
  const auto got = next_burst({&frame, 1});
  if (!got) return tl::unexpected<Error>(got.error());
  return *got == 1;
}

}  // namespace xnic::traces
