#include "traces/player.h"

#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "tests/traces/support.h"

namespace xnic::traces {
namespace {

constexpr uint64_t kNanosecond = 1'000;  // picoseconds

// A capture of frames at the given nanoseconds after some start.
class Tape {
 public:
  explicit Tape(const std::vector<int64_t>& times, size_t frame_bytes = 60) {
    std::vector<Sample> packets;
    for (size_t i = 0; i < times.size(); ++i) {
      packets.push_back({kStart + times[i], Bytes(frame_bytes, static_cast<uint8_t>(i + 1)), 0});
    }
    auto reader = Reader::open(folder_.write("tape.pcap", make_pcap(packets, {}).bytes), "");
    EXPECT_TRUE(reader);
    reader_ = std::move(*reader);
  }

  Player play(const PlayerOptions& options) { return Player(*reader_, options); }

 private:
  static constexpr int64_t kStart = 1'600'000'000'000'000'000;
  TemporaryFolder folder_;
  std::unique_ptr<Reader> reader_;
};

std::vector<uint64_t> times(Player& player) {
  std::vector<uint64_t> result;
  Frame frame;
  for (;;) {
    const auto got = player.next(frame);
    EXPECT_TRUE(got) << got.error().message;
    if (!got || !*got) return result;
    EXPECT_EQ(frame.id, result.size() + 1);
    result.push_back(frame.time_ps);
  }
}

TEST(Player, StartsAtZeroAndKeepsTheGapsOfTheCapture) {
  Tape tape({0, 1, 1, 250, 1'000});
  Player player = tape.play({});
  EXPECT_EQ(times(player), (std::vector<uint64_t>{0, 1 * kNanosecond, 1 * kNanosecond,
                                                  250 * kNanosecond, 1'000 * kNanosecond}));
  EXPECT_EQ(player.backwards(), 0u);
  EXPECT_EQ(player.shortened_gaps(), 0u);
}

TEST(Player, CountsATimestampThatGoesBackAsEqualToTheOneBefore) {
  Tape tape({100, 99, 70, 100, 110});
  Player player = tape.play({});
  EXPECT_EQ(times(player), (std::vector<uint64_t>{0, 0, 0, 0, 10 * kNanosecond}));
  EXPECT_EQ(player.backwards(), 2u);
}

TEST(Player, ShortensOnlyGapsLongerThanTheLongest) {
  constexpr int64_t kYear = 31'536'000'000'000'000;
  Tape tape({0, 1'000, 2'001, kYear});
  Player player = tape.play({.max_gap_ns = 1'000});
  EXPECT_EQ(times(player), (std::vector<uint64_t>{0, 1'000 * kNanosecond, 2'000 * kNanosecond,
                                                  3'000 * kNanosecond}));
  EXPECT_EQ(player.shortened_gaps(), 2u);
}

TEST(Player, RepeatsAfterTheWireTimeOfTheLastFrame) {
  // 60 bytes and less take 84 byte times: 6.72 ns at 100 Gb/s, 67.2 ns at 10 Gb/s.
  Tape tape({0, 30, 20}, 42);
  Player player = tape.play({.loops = 3, .link_gbps = 10});
  EXPECT_EQ(times(player), (std::vector<uint64_t>{0, 30'000, 30'000, 97'200, 127'200, 127'200,
                                                  194'400, 224'400, 224'400}));
  EXPECT_EQ(player.backwards(), 1u);

  Tape large({0}, 1514);
  Player at_100g = large.play({.loops = 2});
  EXPECT_EQ(times(at_100g), (std::vector<uint64_t>{0, (1514 + 24) * 8 * 10}));
}

TEST(Player, RepeatsGiveTheSameBytes) {
  Tape tape({0, 10, 20});
  Player player = tape.play({.loops = 4});
  Frame frame;
  for (uint64_t id = 1; id <= 12; ++id) {
    ASSERT_TRUE(*player.next(frame));
    EXPECT_EQ(Bytes(frame.bytes.begin(), frame.bytes.end()),
              Bytes(60, static_cast<uint8_t>((id - 1) % 3 + 1)));
    EXPECT_EQ(frame.original_length, 60u);
  }
  EXPECT_FALSE(*player.next(frame));
}

TEST(Player, BurstsOfAnyLengthGiveTheSameFrames) {
  std::vector<int64_t> at;
  for (int64_t i = 0; i < 200; ++i) at.push_back(i * i);
  const auto story = [](const Frame& frame) {
    return std::tuple(frame.id, frame.time_ps, Bytes(frame.bytes.begin(), frame.bytes.end()),
                      frame.timestamp_ns, frame.original_length);
  };
  for (const uint64_t loops : {1, 3}) {
    Tape tape(at);
    Player one_by_one = tape.play({.loops = loops});
    std::vector<decltype(story(Frame()))> expected;
    for (Frame frame; *one_by_one.next(frame);) expected.push_back(story(frame));
    ASSERT_EQ(expected.size(), at.size() * loops);
    for (const size_t length : {1, 7, 64, 1000}) {
      Tape again(at);
      Player player = again.play({.loops = loops});
      std::vector<Frame> frames(length);
      std::vector<decltype(story(Frame()))> all;
      for (size_t got = 1; got != 0;) {
        got = player.next_burst(frames).value();
        for (size_t i = 0; i < got; ++i) all.push_back(story(frames[i]));
      }
      EXPECT_EQ(all, expected) << length;
    }
  }
}

TEST(Player, ACaptureThatDoesNotFitInMemoryIsPlayedOnceOnly) {
  Tape tape({0, 1, 2}, 1000);
  Player once = tape.play({.loops = 1, .memory_bytes = 2000});
  EXPECT_EQ(times(once).size(), 3u);
  Tape again({0, 1, 2}, 1000);
  Player twice = again.play({.loops = 2, .memory_bytes = 2000});
  Frame frame;
  EXPECT_TRUE(twice.next(frame).value());
  const auto second = twice.next(frame);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ExitCode::bad_input);
  EXPECT_NE(second.error().message.find("does not fit in memory"), std::string::npos);
}

TEST(Player, AnEmptyCaptureEndsAtOnceHoweverOftenItIsPlayed) {
  Tape tape({});
  Player player = tape.play({.loops = 5});
  EXPECT_TRUE(times(player).empty());
}

uint64_t last_time(const Rate& rate, uint64_t packets, size_t frame_bytes, double link_gbps = 100) {
  Tape tape({0}, frame_bytes);
  Player player = tape.play({.loops = packets, .rate = rate, .link_gbps = link_gbps});
  Frame frame;
  while (*player.next(frame)) {
  }
  EXPECT_EQ(frame.id, packets);
  return frame.time_ps;
}

TEST(Player, ARateDoesNotDriftOverAMillionPackets) {
  constexpr uint64_t kPackets = 1'000'001;
  // 10^6 / 14.88 MHz, 672 bits / 10 Gb/s, 672 bits / 11 Gb/s, all times 10^6 and rounded down.
  EXPECT_EQ(last_time({14.88e6, Rate::packets_per_second}, kPackets, 60), 67'204'301'075u);
  EXPECT_EQ(last_time({10e9, Rate::bits_per_second}, kPackets, 60), 67'200'000'000u);
  EXPECT_EQ(last_time({11e9, Rate::bits_per_second}, kPackets, 14), 61'090'909'090u);
  // 12,304 bits of a full frame at 40 percent of 25 Gb/s.
  EXPECT_EQ(last_time({40, Rate::percent}, kPackets, 1514, 25), 1'230'400'000'000u);
}

TEST(Player, ARateIgnoresTheTimestamps) {
  Tape tape({500, 0, 1'000'000'000'000});
  Player player = tape.play({.rate = Rate{1e6, Rate::packets_per_second}});
  EXPECT_EQ(times(player), (std::vector<uint64_t>{0, 1'000 * kNanosecond, 2'000 * kNanosecond}));
}

testing::AssertionResult ends_too_long(Player& player, uint64_t packets_before) {
  Frame frame;
  uint64_t last = 0;
  for (;;) {
    const auto got = player.next(frame);
    if (!got) {
      if (frame.id != packets_before) return testing::AssertionFailure() << "after " << frame.id;
      if (got.error().code != ExitCode::bad_input) return testing::AssertionFailure() << "code";
      return testing::AssertionSuccess();
    }
    if (!*got) return testing::AssertionFailure() << "ended";
    if (frame.time_ps < last || frame.time_ps >= kEndOfTime) {
      return testing::AssertionFailure() << "time " << frame.time_ps;
    }
    last = frame.time_ps;
  }
}

TEST(Player, ARunTooLongForTheClockIsAnErrorAndNeverAWrap) {
  // 2^64 ps are 18,446,744 seconds; the clock ends ten days before, after 17,582,744.
  constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
  Tape gap({0, 17'582'744'000'000'000, 17'582'745'000'000'000});
  Player by_gap = gap.play({.max_gap_ns = kNoLimit});
  EXPECT_TRUE(ends_too_long(by_gap, 2));

  Tape slow({0});
  Player by_rate = slow.play({.loops = kNoLimit, .rate = Rate{1e-6, Rate::packets_per_second}});
  EXPECT_TRUE(ends_too_long(by_rate, 18));

  Tape loops({0, 1'000'000'000'000'000});
  Player by_loops = loops.play({.max_gap_ns = kNoLimit, .loops = kNoLimit});
  EXPECT_TRUE(ends_too_long(by_loops, 35));

  Tape link({0});
  Player by_link = link.play({.loops = 3, .link_gbps = 1e-300});
  EXPECT_TRUE(ends_too_long(by_link, 1));
}

TEST(ParseRate, ReadsUnitsAndPrefixes) {
  const std::tuple<const char*, double, Rate::Unit> rates[] = {
      {"10Gbps", 10e9, Rate::bits_per_second},
      {"14.88Mpps", 14.88e6, Rate::packets_per_second},
      {"100%", 100, Rate::percent},
      {"0.5%", 0.5, Rate::percent},
      {"250kbps", 250e3, Rate::bits_per_second},
      {"1.2tbps", 1.2e12, Rate::bits_per_second},
      {"3pps", 3, Rate::packets_per_second},
      {"9600bps", 9600, Rate::bits_per_second},
  };
  for (const auto& [text, value, unit] : rates) {
    const auto rate = parse_rate(text);
    ASSERT_TRUE(rate) << rate.error().message;
    EXPECT_DOUBLE_EQ(rate->value, value) << text;
    EXPECT_EQ(rate->unit, unit) << text;
  }
}

TEST(ParseRate, RefusesEverythingElseAsUsage) {
  for (const char* text : {"",       "fast",    "10",      "Gbps",      "10 Gbps",
                           "10Gb",   "10GGbps", "-1Mpps",  "0bps",      "0%",
                           "101%",   "nan%",    "inf pps", "infpps",    "1e400bps",
                           "10k%",   "0x10bps", "1e9bps",  "99999Tbps", "0.0000000001pps",
                           "10Gbps "}) {
    const auto rate = parse_rate(text);
    ASSERT_FALSE(rate) << text;
    EXPECT_EQ(rate.error().code, ExitCode::usage) << text;
    EXPECT_NE(rate.error().message.find(fmt::format("\"{}\"", text)), std::string::npos);
  }
}

}  // namespace
}  // namespace xnic::traces
