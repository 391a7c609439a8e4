#include "traces/merged_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/traces/support.h"

namespace xnic::traces {
namespace {

struct Got {
  uint32_t source;
  int64_t time;
  bool operator==(const Got&) const = default;
};

class MergedReaderTest : public testing::Test {
 protected:
  void add(const std::vector<int64_t>& times) {
    std::vector<Sample> packets;
    for (const int64_t time : times) packets.push_back({kStart + time, Bytes(60), 0});
    const Bytes file = make_pcap(packets, {}).bytes;
    const std::string name = std::to_string(readers_.size()) + ".pcap";
    auto reader = Reader::open(folder_.write(name, file), "");
    ASSERT_TRUE(reader) << reader.error().message;
    readers_.push_back(std::move(*reader));
  }
  std::vector<Got> read() {
    MergedReader merged(std::move(readers_));
    std::vector<Got> all;
    Record record;
    while (merged.next(record).value_or(false)) {
      all.push_back({record.source, record.timestamp_ns - kStart});
    }
    EXPECT_EQ(merged.packets(), all.size());
    EXPECT_EQ(merged.bytes(), 60 * all.size());
    EXPECT_FALSE(merged.next(record).value_or(false));
    return all;
  }

  static constexpr int64_t kStart = 1'600'000'000'000'000'000;
  const TemporaryFolder folder_;
  std::vector<std::unique_ptr<Reader>> readers_;
};

TEST_F(MergedReaderTest, GivesRecordsByTimeAndOfEqualTimesTheFirstCapturesFirst) {
  add({0, 5, 9});
  add({1, 5, 6, 20});
  add({});
  EXPECT_EQ(read(), (std::vector<Got>{{0, 0}, {1, 1}, {0, 5}, {1, 5}, {1, 6}, {0, 9}, {1, 20}}));
}

TEST_F(MergedReaderTest, GivesTheSameInBursts) {
  for (const size_t captures : {1, 2}) {
    readers_.clear();
    for (size_t i = 0; i < captures; ++i) add({0, 5, 9, static_cast<int64_t>(10 + i)});
    MergedReader merged(std::move(readers_));
    std::vector<Record> records(3);
    std::vector<int64_t> all;
    for (size_t got = 1; got != 0;) {
      got = merged.next_burst(records).value();
      for (size_t i = 0; i < got; ++i) all.push_back(records[i].timestamp_ns - kStart);
      EXPECT_EQ(merged.packets(), all.size());
      EXPECT_EQ(merged.bytes(), 60 * all.size());
    }
    EXPECT_TRUE(std::ranges::is_sorted(all));
    EXPECT_EQ(all.size(), 4 * captures);
  }
}

TEST_F(MergedReaderTest, KeepsTheOrderOfACaptureWhoseTimesGoBack) {
  add({10, 2, 12});
  add({5, 11});
  EXPECT_EQ(read(), (std::vector<Got>{{1, 5}, {0, 10}, {0, 2}, {1, 11}, {0, 12}}));
}

TEST_F(MergedReaderTest, OrdersAsMergecapDoes) {
  if (std::system("command -v mergecap >/dev/null") != 0)
    GTEST_SKIP() << "mergecap (package tshark) is not installed.";
  const std::string folder = XNIC_TRACES_DATA;
  const std::string merged = folder_ / "merged.pcap";
  lines_of("mergecap -F nsecpcap -w " + merged + " " + folder + "/http4.pcap " + folder +
           "/ping.pcap");
  auto expected = Reader::open(merged, "");
  ASSERT_TRUE(expected) << expected.error().message;
  for (const char* name : {"/http4.pcap", "/ping.pcap"}) {
    readers_.push_back(std::move(*Reader::open(folder + name, "")));
  }
  MergedReader ours(std::move(readers_));
  Record mine;
  Record theirs;
  while ((*expected)->next(theirs).value_or(false)) {
    ASSERT_TRUE(ours.next(mine).value_or(false));
    EXPECT_EQ(mine.timestamp_ns, theirs.timestamp_ns);
    EXPECT_TRUE(std::ranges::equal(mine.bytes, theirs.bytes));
  }
  EXPECT_FALSE(ours.next(mine).value_or(false));
}

}  // namespace
}  // namespace xnic::traces
