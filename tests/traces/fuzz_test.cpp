// Whatever the bytes are, the reader gives records that keep its contract, then an end or a
// sentence. Seeded, so that a failure can be run again.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/traces/support.h"
#include "traces/player.h"
#include "traces/reader.h"

namespace xnic::traces {
namespace {

// Reads all; gives the number of records.
size_t drain(const std::string& path) {
  const auto is_sentence = [](const std::string& text) {
    return !text.empty() && text.back() == '.' && text.find('\n') == std::string::npos;
  };
  auto reader = Reader::open(path, "ip or not ip");
  if (!reader) {
    EXPECT_EQ(reader.error().code, ExitCode::bad_input);
    EXPECT_TRUE(is_sentence(reader.error().message)) << reader.error().message;
    return 0;
  }
  Player player(**reader, {});
  Frame frame;
  uint64_t last = 0;
  volatile uint8_t touched = 0;
  for (;;) {
    const auto got = player.next(frame);
    if (!got) {
      EXPECT_EQ(got.error().code, ExitCode::bad_input);
      EXPECT_TRUE(is_sentence(got.error().message)) << got.error().message;
    }
    if (!got || !*got) break;
    EXPECT_LE(frame.bytes.size(), kMaxRecordLength);
    EXPECT_GE(frame.original_length, frame.bytes.size());
    EXPECT_GE(frame.time_ps, last);
    last = frame.time_ps;
    for (const uint8_t byte : frame.bytes) touched = touched ^ byte;
  }
  EXPECT_TRUE(is_sentence((*reader)->warning().value_or(".")));
  return (*reader)->packets();
}

TEST(ReaderFuzz, RandomBytesEndWithASentence) {
  const TemporaryFolder folder;
  std::mt19937_64 random(1);
  for (int round = 0; round < 500; ++round) {
    Bytes bytes(random() % 2'000);
    for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
    // Half of them begin as a capture does.
    if (round % 2 == 0) {
      const Bytes header = (round % 4 == 0 ? make_pcap : make_pcapng)({}, {}).bytes;
      bytes.insert(bytes.begin(), header.begin(), header.end());
    }
    drain(folder.write("random", bytes));
  }
}

TEST(ReaderFuzz, MutatedCapturesEndWithASentence) {
  const TemporaryFolder folder;
  std::vector<Bytes> seeds;
  for (const std::string& path : shipped_captures()) {
    Bytes bytes = read_file(path);
    bytes.resize(std::min<size_t>(bytes.size(), 20'000));
    seeds.push_back(std::move(bytes));
  }
  seeds.push_back(make_pcap(samples(20), {.big_endian = true}).bytes);
  seeds.push_back(make_pcapng(samples(20), {.big_endian = true}).bytes);
  constexpr uint32_t kTelling[] = {0,          1,          4,          6,       28,
                                   0x7fffffff, 0x80000000, 0xffffffff, 262'144, 262'145};

  std::mt19937_64 random(2);
  size_t records = 0;
  for (int round = 0; round < 3'000; ++round) {
    Bytes bytes = seeds[random() % seeds.size()];
    for (uint64_t edits = 1 + random() % 4; edits > 0 && bytes.size() > 8; --edits) {
      // Headers are where a parser can go wrong: half of the edits fall near the start.
      const size_t place =
          random() % (random() % 2 == 0 ? std::min<size_t>(bytes.size(), 200) : bytes.size());
      switch (random() % 4) {
        case 0:
          bytes[place] ^= static_cast<uint8_t>(1u << random() % 8);
          break;
        case 1: {
          const uint32_t value = kTelling[random() % std::size(kTelling)];
          for (size_t i = 0; i < 4 && place / 4 * 4 + i < bytes.size(); ++i) {
            bytes[place / 4 * 4 + i] = static_cast<uint8_t>(value >> (8 * i));
          }
          break;
        }
        case 2:
          bytes.erase(bytes.begin() + static_cast<ptrdiff_t>(place),
                      bytes.begin() +
                          static_cast<ptrdiff_t>(std::min(bytes.size(), place + random() % 40)));
          break;
        default:
          bytes.resize(place);
      }
    }
    records += drain(folder.write("mutated", bytes));
  }
  // The mutations must not be so wild that nothing is read.
  EXPECT_GT(records, 10'000u);
}

}  // namespace
}  // namespace xnic::traces
