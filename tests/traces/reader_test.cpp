#include "traces/reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "tests/traces/support.h"

namespace xnic::traces {
namespace {

struct Story {
  std::vector<Sample> packets;
  std::optional<Error> error;  // of open or of the last next
  std::optional<std::string> warning;
  uint64_t snapped = 0;
};

Story read(const std::string& path, const std::string& filter = "",
           const ReaderOptions& options = {}) {
  Story story;
  auto reader = Reader::open(path, filter, options);
  if (!reader) {
    story.error = reader.error();
    return story;
  }
  Record record;
  for (;;) {
    auto got = (*reader)->next(record);
    if (!got) story.error = got.error();
    if (!got || !*got) break;
    story.packets.push_back({record.timestamp_ns, Bytes(record.bytes.begin(), record.bytes.end()),
                             record.original_length});
  }
  EXPECT_EQ((*reader)->packets(), story.packets.size());
  story.warning = (*reader)->warning();
  story.snapped = (*reader)->snapped();
  return story;
}

bool mentions(const std::optional<std::string>& text, std::string_view part) {
  return text && text->find(part) != std::string::npos;
}

testing::AssertionResult refused(const Story& story, ExitCode code,
                                 std::initializer_list<std::string_view> parts) {
  if (!story.error) return testing::AssertionFailure() << "not refused";
  const Error& error = *story.error;
  if (error.code != code) return testing::AssertionFailure() << "exit code: " << error.message;
  if (error.message.empty() || error.message.back() != '.') {
    return testing::AssertionFailure() << "not a sentence: " << error.message;
  }
  for (const auto part : parts) {
    if (!mentions(error.message, part)) {
      return testing::AssertionFailure() << error.message << " lacks " << part;
    }
  }
  return testing::AssertionSuccess();
}

void expect_packets(const Story& story, const std::vector<Sample>& expected, size_t count) {
  ASSERT_EQ(story.packets.size(), count);
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(story.packets[i].timestamp_ns, expected[i].timestamp_ns) << i;
    EXPECT_EQ(story.packets[i].bytes, expected[i].bytes) << i;
    const auto length = static_cast<uint32_t>(expected[i].bytes.size());
    EXPECT_EQ(story.packets[i].original_length, std::max(expected[i].original_length, length));
  }
}

TEST(Reader, AgreesWithTsharkOnTimesAndLengthsOfEveryShippedCapture) {
  for (const std::string& path : shipped_captures()) {
    const Story story = read(path);
    EXPECT_FALSE(story.error) << path;
    EXPECT_FALSE(story.warning) << path;
    const auto lines = lines_of("tshark -n -r '" + path +
                                "' -T fields -e frame.time_epoch -e frame.cap_len -e frame.len "
                                "2>/dev/null");
    ASSERT_EQ(story.packets.size(), lines.size()) << path;
    ASSERT_GT(lines.size(), 0u) << path;
    for (size_t i = 0; i < lines.size(); ++i) {
      const Sample& packet = story.packets[i];
      EXPECT_EQ(fmt::format("{}.{:09}\t{}\t{}", packet.timestamp_ns / 1'000'000'000,
                            packet.timestamp_ns % 1'000'000'000, packet.bytes.size(),
                            packet.original_length),
                lines[i])
          << path << " packet " << i + 1;
    }
  }
}

TEST(Reader, FilterKeepsWhatTsharkKeepsUnderTheSamePacketNumbers) {
  const std::string path = XNIC_TRACES_DATA "/mixed.pcapng";
  const std::pair<const char*, const char*> filters[] = {
      {"udp port 53", "udp.port == 53 && !vlan && !icmp && !icmpv6"},
      {"arp", "arp"},
      {"ip and host 10.10.0.66", "ip.addr == 10.10.0.66"},
      {"vlan 42", "vlan.id == 42"},
      {"ip6 and not tcp", "ipv6 && !tcp"},
      {"greater 1000", "frame.len >= 1000"},
  };
  for (const auto& [ours, theirs] : filters) {
    auto reader = Reader::open(path, ours);
    ASSERT_TRUE(reader) << reader.error().message;
    std::vector<std::string> numbers;
    Record record;
    while (*(*reader)->next(record)) numbers.push_back(std::to_string(record.number));
    EXPECT_GT(numbers.size(), 0u) << ours;
    EXPECT_EQ(numbers, lines_of(fmt::format("tshark -n -r '{}' -Y '{}' -T fields -e frame.number "
                                            "2>/dev/null",
                                            path, theirs)))
        << ours;
  }
}

TEST(Reader, ReadsBothByteOrdersAndResolutionsOfBothFormats) {
  const TemporaryFolder folder;
  std::vector<Sample> packets = samples(5);
  for (auto& packet : packets) packet.timestamp_ns += 123'456'000;
  for (const bool big_endian : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      std::vector<Sample> expected = packets;
      if (!nanoseconds) {
        for (auto& packet : expected) packet.timestamp_ns -= packet.timestamp_ns % 1'000;
      }
      const Layout layout{big_endian, nanoseconds, 1};
      SCOPED_TRACE(fmt::format("big endian {}, nanoseconds {}", big_endian, nanoseconds));
      expect_packets(read(folder.write("a.pcap", make_pcap(packets, layout).bytes)), expected, 5);
      expect_packets(read(folder.write("a.pcapng", make_pcapng(packets, layout).bytes)), expected,
                     5);
    }
  }
}

TEST(Reader, GivesEmptyShortAndSnappedRecordsAsTheyAre) {
  const TemporaryFolder folder;
  const std::vector<Sample> packets = {
      {1, {}, 0}, {2, {0xab}, 0}, {3, Bytes(13, 1), 0}, {4, Bytes(64, 2), 1514}, {5, {}, 60}};
  for (const auto& capture : {make_pcap(packets, {}), make_pcapng(packets, {})}) {
    const Story story = read(folder.write("short", capture.bytes));
    EXPECT_FALSE(story.error);
    EXPECT_FALSE(story.warning);
    expect_packets(story, packets, packets.size());
    EXPECT_EQ(story.snapped, 2u);
  }
}

TEST(Reader, ReadsStandardInputThroughAPipe) {
  const std::vector<Sample> packets = samples(20);
  for (const auto& capture : {make_pcap(packets, {}), make_pcapng(packets, {})}) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    // Cut three bytes off: the offset of the cut has to be known without seeking.
    const size_t size = capture.bytes.size() - 3;
    ASSERT_EQ(::write(ends[1], capture.bytes.data(), size), static_cast<ssize_t>(size));
    ::close(ends[1]);
    const int saved = ::dup(STDIN_FILENO);
    ::dup2(ends[0], STDIN_FILENO);
    ::close(ends[0]);
    const Story story = read("-");
    ::dup2(saved, STDIN_FILENO);
    ::close(saved);
    EXPECT_FALSE(story.error);
    expect_packets(story, packets, 19);
    EXPECT_TRUE(mentions(story.warning, fmt::format("cut off at byte {}", size)));
    EXPECT_TRUE(mentions(story.warning, "standard input"));
  }
}

// For every length to which the capture can be cut: all packets before the cut, a warning with the
// offsets exactly if the cut is inside a record, an error with strict, and an error alone if
// the cut is inside the header.
void expect_cuts_are_reported(const Capture& capture, const std::vector<Sample>& packets) {
  const TemporaryFolder folder;
  const std::string path = folder.write("cut", capture.bytes);
  for (size_t size = capture.bytes.size() + 1; size-- > 0;) {
    SCOPED_TRACE(size);
    std::filesystem::resize_file(path, size);
    const Story story = read(path);
    if (size < capture.ends[0]) {
      EXPECT_TRUE(refused(story, ExitCode::bad_input, {path}));
      continue;
    }
    EXPECT_FALSE(story.error);
    size_t whole = 0;
    while (whole < packets.size() && capture.ends[whole + 1] <= size) ++whole;
    expect_packets(story, packets, whole);
    const Story strict = read(path, "", {.strict = true});
    if (capture.ends[whole] == size) {
      EXPECT_FALSE(story.warning) << *story.warning;
      EXPECT_FALSE(strict.error);
      continue;
    }
    const std::string last = fmt::format("at byte {} ", capture.ends[whole]);
    const std::string cut = fmt::format("cut off at byte {}", size);
    EXPECT_TRUE(mentions(story.warning, path));
    EXPECT_TRUE(mentions(story.warning, last)) << story.warning.value_or("");
    EXPECT_TRUE(mentions(story.warning, cut)) << story.warning.value_or("");
    EXPECT_TRUE(refused(strict, ExitCode::bad_input, {path, last, cut}));
    expect_packets(strict, packets, whole);
  }
}

TEST(Reader, GivesThePacketsBeforeACutAtEveryOffsetOfAPcapFile) {
  const std::vector<Sample> packets = samples(12);
  expect_cuts_are_reported(make_pcap(packets, {}), packets);
  expect_cuts_are_reported(make_pcap(packets, {.big_endian = true}), packets);
}

TEST(Reader, GivesThePacketsBeforeACutAtEveryOffsetOfAPcapngFile) {
  const std::vector<Sample> packets = samples(12);
  expect_cuts_are_reported(make_pcapng(packets, {}), packets);
  expect_cuts_are_reported(make_pcapng(packets, {.big_endian = true}), packets);
}

TEST(Reader, RefusesARecordAboveTheLimitWithItsPlaceAndTakesOneAtTheLimit) {
  const TemporaryFolder folder;
  std::vector<Sample> packets = samples(3);
  packets[1].bytes.assign(kMaxRecordLength, 7);
  for (const auto& make : {make_pcap, make_pcapng}) {
    packets[1].bytes.resize(kMaxRecordLength);
    const Story at_limit = read(folder.write("limit", make(packets, {}).bytes));
    EXPECT_FALSE(at_limit.error);
    expect_packets(at_limit, packets, 3);

    packets[1].bytes.resize(kMaxRecordLength + 1);
    const Capture capture = make(packets, {});
    const Story above = read(folder.write("above", capture.bytes));
    EXPECT_EQ(above.packets.size(), 1u);
    EXPECT_TRUE(refused(above, ExitCode::bad_input,
                        {"above", "packet 2,", fmt::format("after byte {},", capture.ends[1])}));
  }
}

TEST(Reader, RefusesOtherLinkTypesByName) {
  const TemporaryFolder folder;
  const std::pair<uint32_t, const char*> types[] = {
      {101, "RAW"}, {113, "LINUX_SLL"}, {9, "PPP"}, {105, "IEEE802_11"}, {4242, "4242"}};
  for (const auto& [number, name] : types) {
    for (const auto& make : {make_pcap, make_pcapng}) {
      const Capture capture = make(samples(2), {.link_type = number});
      const Story story = read(folder.write("other", capture.bytes));
      EXPECT_TRUE(refused(story, ExitCode::bad_input, {"other", name, "Ethernet"})) << number;
      EXPECT_TRUE(story.packets.empty());
    }
  }
}

TEST(Reader, NamesThePacketWhereAPcapngFileChangesItsLinkType) {
  const TemporaryFolder folder;
  const std::vector<Sample> packets = samples(2);
  Bytes bytes = make_pcapng(packets, {}).bytes;
  const Capture other = make_pcapng(samples(1), {.link_type = 101});
  constexpr size_t kSectionHeader = 28;
  bytes.insert(bytes.end(), other.bytes.begin() + kSectionHeader, other.bytes.end());
  const Story story = read(folder.write("two", bytes));
  expect_packets(story, packets, 2);
  EXPECT_TRUE(refused(story, ExitCode::bad_input, {"two", "packet 3,"}));
}

TEST(Reader, RefusesWhatIsNoCaptureWithOneSentence) {
  const TemporaryFolder folder;
  EXPECT_TRUE(refused(read(folder / "missing"), ExitCode::bad_input, {"missing", "No such file"}));
  EXPECT_TRUE(refused(read(folder / ""), ExitCode::bad_input, {"is a directory"}));
  EXPECT_TRUE(refused(read(folder.write("nil", {})), ExitCode::bad_input, {"nil is empty"}));
  EXPECT_TRUE(refused(read(folder.write("one", {0xd4})), ExitCode::bad_input, {"one"}));
  EXPECT_TRUE(refused(read(folder.write("gz", {0x1f, 0x8b, 8, 0, 0, 0, 0, 0})), ExitCode::bad_input,
                      {"compressed with gzip"}));
  const std::string text = "this is a letter and no capture, and it goes on for a while";
  EXPECT_TRUE(refused(read(folder.write("letter", Bytes(text.begin(), text.end()))),
                      ExitCode::bad_input, {"letter is not a pcap or pcapng capture"}));
}

TEST(Reader, RefusesABadFilterAsAUsageError) {
  const Story story = read(XNIC_TRACES_DATA "/dns.pcap", "udp port fifty-three and");
  EXPECT_TRUE(refused(story, ExitCode::usage, {"\"udp port fifty-three and\""}));
}

TEST(Reader, StaysAtTheEndAndAtAnError) {
  const TemporaryFolder folder;
  Record record;
  auto whole = Reader::open(folder.write("a", make_pcap(samples(1), {}).bytes), "");
  ASSERT_TRUE(whole);
  EXPECT_TRUE(*(*whole)->next(record));
  EXPECT_FALSE(*(*whole)->next(record));
  EXPECT_FALSE(*(*whole)->next(record));

  Bytes broken = make_pcap(samples(3), {}).bytes;
  for (size_t i = 24 + 8; i < 24 + 12; ++i) broken[i] = 0xff;  // length of the first packet
  auto reader = Reader::open(folder.write("b", broken), "");
  ASSERT_TRUE(reader);
  const auto first = (*reader)->next(record);
  const auto second = (*reader)->next(record);
  ASSERT_FALSE(first);
  ASSERT_FALSE(second);
  EXPECT_EQ(first.error().message, second.error().message);
}

}  // namespace
}  // namespace xnic::traces
