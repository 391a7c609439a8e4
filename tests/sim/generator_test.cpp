// Traffic and the search for a rate, apart from ports: frames against the RFCs and tshark's reading
// of them, the search against devices whose limits are known.
#include "sim/generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "sim/rate_search.h"
#include "tests/traces/support.h"
#include "traces/pcap_writer.h"

namespace xnic::sim {
namespace {

constexpr vm::MacAddress kSource = {0x02, 0, 0, 0, 0, 7};

TEST(Traffic, IsOfTheLengthsThatAreAskedFor) {
  for (const uint32_t length : {64u, 65u, 512u, 1518u}) {
    const auto traffic = make_traffic(std::to_string(length), kSource);
    ASSERT_TRUE(traffic);
    for (const auto& frame : *traffic) ASSERT_EQ(frame.size(), length - 4);
  }
  const auto imix = make_traffic("imix", kSource);
  ASSERT_TRUE(imix);
  size_t shorts = 0;
  size_t middles = 0;
  size_t longs = 0;
  for (const auto& frame : *imix) {
    ++(frame.size() == 60 ? shorts : frame.size() == 590 ? middles : longs);
  }
  EXPECT_EQ(shorts, 7 * longs);
  EXPECT_EQ(middles, 4 * longs);
}

TEST(Traffic, RefusesWhatNoPortSends) {
  for (const char* what : {"63", "1519", "9000"}) {
    const auto traffic = make_traffic(what, kSource);
    ASSERT_FALSE(traffic) << what;
    EXPECT_EQ(traffic.error().code, ExitCode::usage);
  }
  const auto missing = make_traffic("/nowhere.pcap", kSource);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ExitCode::bad_input);
}

TEST(Traffic, IsWhatTsharkCallsSoundUdp) {
  const auto traffic = make_traffic("imix", kSource);
  ASSERT_TRUE(traffic);
  const traces::TemporaryFolder folder;
  const std::string path = folder / "imix.pcap";
  auto writer = traces::PcapWriter::create(path);
  ASSERT_TRUE(writer);
  for (size_t i = 0; i < 256; ++i) {
    ASSERT_TRUE((*writer)->write(static_cast<int64_t>(i), (*traffic)[i],
                                 static_cast<uint32_t>((*traffic)[i].size())));
  }
  ASSERT_TRUE((*writer)->finish());
  const auto found = traces::lines_of("tshark -r " + path +
                                      " -o ip.check_checksum:TRUE -Y 'udp && ip.checksum.status == "
                                      "1 && !_ws.malformed' 2>/dev/null");
  EXPECT_EQ(found.size(), 256u);
}

TEST(FrameTag, ComesBackFromTheEndOfAFrame) {
  std::vector<uint8_t> frame(60, 0xee);
  EXPECT_FALSE(tag_of(frame));
  put_tag(frame, {.sequence = (uint64_t{1} << 48) - 1, .sent = 0x0123456789abcdef});
  const auto tag = tag_of(frame);
  ASSERT_TRUE(tag);
  EXPECT_EQ(tag->sequence, (uint64_t{1} << 48) - 1);
  EXPECT_EQ(tag->sent, 0x0123456789abcdefu);
  // Headers in front do not matter.
  frame.insert(frame.begin(), 20, 0);
  EXPECT_TRUE(tag_of(frame));
}

TEST(Rates, AreFramesASecond) {
  using traces::Rate;
  // 10 Gb/s carries 14.88 Mpps of 64-byte frames (IEEE 802.3): 672 bits each on the wire.
  const auto line = frames_per_second({.value = 100, .unit = Rate::percent}, 672, 10'000);
  ASSERT_TRUE(line);
  EXPECT_NEAR(*line, 14'880'952, 1);
  EXPECT_NEAR(*frames_per_second({.value = 1e9, .unit = Rate::bits_per_second}, 672, 0), 1'488'095,
              1);
  EXPECT_EQ(*frames_per_second({.value = 5e6, .unit = Rate::packets_per_second}, 672, 0), 5e6);
  EXPECT_FALSE(frames_per_second({.value = 50, .unit = Rate::percent}, 672, 0));
}

// A device that forwards so many frames a second, and loses the others.
TrialResult limited(double rate, double limit) {
  TrialResult result;
  result.seconds = 1;
  result.sent = static_cast<uint64_t>(rate);
  result.received = static_cast<uint64_t>(std::min(rate, limit));
  return result;
}

TEST(RateSearch, FindsTheLimitOfADevice) {
  for (const double limit : {1e3, 123'456.0, 7.7e6, 14e6}) {
    const SearchResult found =
        search_rate({}, 14'880'952, [&](double rate) { return limited(rate, limit); });
    // To the frame of a second.
    EXPECT_LE(found.rate, limit + 1);
    EXPECT_GE(found.rate, limit * 0.99);
    // Confirmed twice, at the rate itself.
    ASSERT_GE(found.steps.size(), 3u);
    for (size_t i = found.steps.size() - 2; i < found.steps.size(); ++i) {
      EXPECT_TRUE(found.steps[i].passed);
      EXPECT_EQ(found.steps[i].rate, found.rate);
    }
  }
}

TEST(RateSearch, GivesLineRateWhereNothingIsLostAndNothingWhereAllIs) {
  EXPECT_EQ(search_rate({}, 1e6, [](double rate) { return limited(rate, 1e9); }).rate, 1e6);
  EXPECT_EQ(search_rate({}, 1e6, [](double rate) { return limited(rate, 0); }).rate, 0);
}

TEST(RateSearch, AllowsWhatPdrAllows) {
  // One frame in a thousand is lost at any rate, and at least one.
  const auto trial = [](double rate) {
    TrialResult result = limited(rate, 1e9);
    result.received = result.sent - std::max<uint64_t>(result.sent / 1000, 1);
    return result;
  };
  EXPECT_LE(search_rate({.most_loss = 0}, 1e6, trial).rate, 1);
  EXPECT_EQ(search_rate({.most_loss = 0.002}, 1e6, trial).rate, 1e6);
}

TEST(RateSearch, DoesNotTrustAGeneratorThatFallsBehind) {
  // No more than this can be sent, and none of it is lost.
  constexpr double kMost = 3e6;
  const SearchResult found =
      search_rate({}, 10e6, [&](double rate) { return limited(std::min(rate, kMost), 1e9); });
  EXPECT_LE(found.rate, kMost / 0.99);
  EXPECT_GE(found.rate, kMost * 0.98);
}

TEST(RateSearch, StepsBackFromARateThatIsNotConfirmed) {
  // The first trial at any rate above the true limit is lucky.
  std::map<double, int> tried;
  constexpr double kLimit = 1e6;
  const SearchResult found = search_rate({}, 4e6, [&](double rate) {
    return limited(rate, tried[rate]++ == 0 && rate < 1.2e6 ? 4e6 : kLimit);
  });
  EXPECT_LE(found.rate, kLimit);
  EXPECT_GE(found.rate, kLimit * 0.95);
}

}  // namespace
}  // namespace xnic::sim
