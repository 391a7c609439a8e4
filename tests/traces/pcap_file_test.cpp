// The fast reader of plain pcap files against libpcap, which reads the same file as soon as there
// is a filter, even one that every packet passes.
#include "traces/pcap_file.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/traces/support.h"

namespace xnic::traces {
namespace {

constexpr const char* kEveryPacket = "greater 0";

struct Story {
  std::vector<Record> records;  // their bytes are in `bytes`
  std::vector<Bytes> bytes;
  std::string end;  // the error or the warning
  uint64_t packets = 0;
  uint64_t total = 0;
  uint64_t snapped = 0;
};

Story read(const std::string& path, const std::string& filter, const ReaderOptions& options,
           size_t burst) {
  Story story;
  auto reader = Reader::open(path, filter, options);
  if (!reader) {
    story.end = reader.error().message;
    return story;
  }
  std::vector<Record> records(burst);
  for (;;) {
    const auto got = (*reader)->next_burst(records);
    if (!got) story.end = got.error().message;
    if (!got || *got == 0) break;
    for (size_t i = 0; i < *got; ++i) {
      story.records.push_back(records[i]);
      story.bytes.emplace_back(records[i].bytes.begin(), records[i].bytes.end());
    }
  }
  if (story.end.empty()) story.end = (*reader)->warning().value_or("");
  story.packets = (*reader)->packets();
  story.total = (*reader)->bytes();
  story.snapped = (*reader)->snapped();
  return story;
}

void expect_libpcaps_story(const std::string& path, size_t burst, bool strict = false) {
  const Story ours = read(path, "", {.strict = strict}, burst);
  const Story theirs = read(path, kEveryPacket, {.strict = strict}, 1);
  EXPECT_EQ(ours.end, theirs.end);
  EXPECT_EQ(ours.packets, theirs.packets);
  EXPECT_EQ(ours.total, theirs.total);
  EXPECT_EQ(ours.snapped, theirs.snapped);
  ASSERT_EQ(ours.records.size(), theirs.records.size());
  for (size_t i = 0; i < ours.records.size(); ++i) {
    ASSERT_EQ(ours.records[i].number, theirs.records[i].number);
    ASSERT_EQ(ours.records[i].timestamp_ns, theirs.records[i].timestamp_ns) << i;
    ASSERT_EQ(ours.records[i].original_length, theirs.records[i].original_length) << i;
    ASSERT_EQ(ours.bytes[i], theirs.bytes[i]) << i;
  }
}

const Layout kLayouts[] = {{.big_endian = false, .nanoseconds = true},
                           {.big_endian = false, .nanoseconds = false},
                           {.big_endian = true, .nanoseconds = true},
                           {.big_endian = true, .nanoseconds = false}};

TEST(PcapFile, GivesLibpcapsRecordsOfEveryLayoutOverManyWindows) {
  const TemporaryFolder folder;
  std::mt19937_64 random(1);
  for (const Layout& layout : kLayouts) {
    std::vector<Sample> packets(4'000);
    for (Sample& packet : packets) {
      // Mostly small ones, some of the largest there may be.
      packet.bytes.resize(random() % 64 == 0 ? random() % (kMaxRecordLength + 1)
                                             : random() % 2'000);
      for (size_t i = 0; i < packet.bytes.size(); i += 97) packet.bytes[i] = random() & 0xff;
      packet.timestamp_ns = static_cast<int64_t>(random() % 4'000'000'000) * 1'000'000'000 +
                            static_cast<int64_t>(random() % 1'000'000'000);
      if (random() % 8 == 0) packet.original_length = static_cast<uint32_t>(random() % 70'000);
    }
    const std::string path = folder.write("large", make_pcap(packets, layout).bytes);
    ASSERT_NE(open_pcap_file(path, {}), nullptr);
    for (const size_t burst : {1u, 64u}) expect_libpcaps_story(path, burst);
  }
}

TEST(PcapFile, EndsWhereAndAsLibpcapDoesAtEveryCut) {
  const TemporaryFolder folder;
  for (const Layout& layout : kLayouts) {
    const Bytes whole = make_pcap(samples(6), layout).bytes;
    for (size_t size = 0; size <= whole.size(); ++size) {
      const std::string path = folder.write("cut", Bytes(whole.begin(), whole.begin() + size));
      for (const bool strict : {false, true}) expect_libpcaps_story(path, 4, strict);
    }
  }
}

TEST(PcapFile, AnswersDamagedFilesAsLibpcapDoes) {
  const TemporaryFolder folder;
  std::mt19937_64 random(2);
  constexpr uint32_t kTelling[] = {0,          1,          14,      65'535, 0x7fffffff,
                                   0x80000000, 0xffffffff, 262'144, 262'145};
  for (int round = 0; round < 3'000; ++round) {
    Bytes bytes = make_pcap(samples(1 + random() % 12), kLayouts[random() % 4]).bytes;
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      const size_t end = random() % 2 == 0 ? 64 : bytes.size();
      const size_t at = random() % (std::min(end, bytes.size()) - 4);
      if (random() % 2 == 0) {
        bytes[at] = random() & 0xff;
      } else {
        const uint32_t value = kTelling[random() % std::size(kTelling)];
        for (size_t i = 0; i < 4; ++i) bytes[at / 4 * 4 + i] = value >> (8 * i) & 0xff;
      }
    }
    SCOPED_TRACE(round);
    expect_libpcaps_story(folder.write("damaged", bytes), 1 + random() % 8);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(PcapFile, LeavesEverythingElseToLibpcap) {
  const TemporaryFolder folder;
  EXPECT_EQ(open_pcap_file(folder / "missing", {}), nullptr);
  EXPECT_EQ(open_pcap_file(folder / "", {}), nullptr);
  EXPECT_EQ(open_pcap_file("-", {}), nullptr);
  EXPECT_EQ(open_pcap_file(folder.write("empty", {}), {}), nullptr);
  EXPECT_EQ(open_pcap_file(folder.write("ng", make_pcapng(samples(2), {}).bytes), {}), nullptr);
  EXPECT_EQ(
      open_pcap_file(folder.write("raw", make_pcap(samples(2), {.link_type = 101}).bytes), {}),
      nullptr);
}

}  // namespace
}  // namespace xnic::traces
