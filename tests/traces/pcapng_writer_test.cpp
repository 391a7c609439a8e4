#include "traces/pcapng_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>

#include "tests/traces/support.h"
#include "traces/pcap_writer.h"
#include "traces/reader.h"

namespace xnic::traces {
namespace {

// Packets with all kinds of annotations, written to PATH.
void write_annotated(const std::string& path, const std::vector<Sample>& packets) {
  auto writer = PcapngWriter::create(path, "xnic 1.2.3");
  ASSERT_TRUE(writer) << writer.error().message;
  for (size_t i = 0; i < packets.size(); ++i) {
    Annotation annotation;
    annotation.packet_id = i + 1;
    annotation.queue = static_cast<uint32_t>(i % 4);
    annotation.verdicts.push_back({Verdict::xdp, i % 3});
    if (i % 2 == 1) annotation.verdicts.push_back({Verdict::tc, 0xffffffff});
    if (i % 5 == 0) annotation.comment = fmt::format("packet {} – dropped", i + 1);
    ASSERT_TRUE((*writer)->write(packets[i].timestamp_ns, packets[i].bytes,
                                 packets[i].original_length, annotation));
  }
  ASSERT_TRUE((*writer)->finish());
}

std::vector<Sample> snapped_samples(size_t count) {
  std::vector<Sample> packets = samples(count);
  for (auto& packet : packets)
    packet.original_length = static_cast<uint32_t>(packet.bytes.size()) + 9;
  return packets;
}

TEST(PcapngWriter, TsharkReadsVerdictsPacketIdsQueuesTimesAndComments) {
  const TemporaryFolder folder;
  const std::string path = folder / "verdicts.pcapng";
  const std::vector<Sample> packets = snapped_samples(30);
  write_annotated(path, packets);
  const auto lines =
      lines_of("tshark -n -r '" + path +
               "' -T fields -E separator='|' -e frame.time_epoch -e frame.cap_len -e frame.len"
               " -e frame.packet_id -e frame.interface_queue -e frame.verdict.ebpf_xdp"
               " -e frame.verdict.ebpf_tc -e frame.interface_name -e frame.comment 2>/dev/null");
  ASSERT_EQ(lines.size(), packets.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const Sample& packet = packets[i];
    EXPECT_EQ(
        lines[i],
        fmt::format("{}.{:09}|{}|{}|{}|{}|{}|{}|nic0|{}", packet.timestamp_ns / 1'000'000'000,
                    packet.timestamp_ns % 1'000'000'000, packet.bytes.size(),
                    packet.original_length, i + 1, i % 4, i % 3, i % 2 == 1 ? "4294967295" : "",
                    i % 5 == 0 ? fmt::format("packet {} – dropped", i + 1) : ""));
  }
  EXPECT_EQ(
      lines_of("tshark -n -r '" + path + "' -Y 'frame.verdict.ebpf_xdp == 1' 2>/dev/null").size(),
      10u);
  EXPECT_EQ(lines_of("tshark -n -r '" + path + "' -Y 'frame.verdict.ebpf_tc' 2>/dev/null").size(),
            15u);
}

TEST(PcapngWriter, BlocksHaveTheShapeOfTheFormat) {
  const TemporaryFolder folder;
  const std::string path = folder / "shape.pcapng";
  const std::vector<Sample> packets = snapped_samples(9);
  write_annotated(path, packets);
  const Bytes bytes = read_file(path);
  const auto word = [&](size_t offset) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
  };
  std::vector<uint32_t> types;
  size_t offset = 0;
  while (offset < bytes.size()) {
    ASSERT_LE(offset + 12, bytes.size());
    const uint32_t length = word(offset + 4);
    ASSERT_EQ(length % 4, 0u);
    ASSERT_LE(offset + length, bytes.size());
    EXPECT_EQ(word(offset + length - 4), length);
    types.push_back(word(offset));
    offset += length;
  }
  std::vector<uint32_t> expected = {0x0a0d0d0a, 1};
  expected.insert(expected.end(), packets.size(), 6);
  EXPECT_EQ(types, expected);
  EXPECT_EQ(word(8), 0x1a2b3c4du);
  const std::string text(bytes.begin(), bytes.end());
  EXPECT_NE(text.find("xnic 1.2.3"), std::string::npos);
}

TEST(PcapngWriter, WhatItWritesIsReadBackAsItWas) {
  const TemporaryFolder folder;
  const std::vector<Sample> packets = snapped_samples(50);
  write_annotated(folder / "a.pcapng", packets);
  auto plain = PcapWriter::create(folder / "a.pcap");
  ASSERT_TRUE(plain);
  for (const auto& packet : packets) {
    ASSERT_TRUE((*plain)->write(packet.timestamp_ns, packet.bytes, packet.original_length));
  }
  ASSERT_TRUE((*plain)->finish());
  // The plain file, byte for byte as the format's document has it.
  EXPECT_EQ(read_file(folder / "a.pcap"), make_pcap(packets, {}).bytes);
  for (const char* name : {"a.pcapng", "a.pcap"}) {
    auto reader = Reader::open(folder / name, "");
    ASSERT_TRUE(reader);
    Record record;
    for (const auto& packet : packets) {
      ASSERT_TRUE(*(*reader)->next(record));
      EXPECT_EQ(record.timestamp_ns, packet.timestamp_ns);
      EXPECT_EQ(record.original_length, packet.original_length);
      EXPECT_EQ(Bytes(record.bytes.begin(), record.bytes.end()), packet.bytes);
    }
    EXPECT_FALSE(*(*reader)->next(record));
    EXPECT_FALSE((*reader)->warning());
  }
}

TEST(PcapngWriter, CutsALongCommentBetweenCharacters) {
  const TemporaryFolder folder;
  const std::string path = folder / "long.pcapng";
  auto writer = PcapngWriter::create(path, "xnic");
  ASSERT_TRUE(writer);
  Annotation annotation;
  for (int i = 0; i < 40'000; ++i) annotation.comment += "é";
  ASSERT_TRUE((*writer)->write(0, Bytes(60), 60, annotation));
  ASSERT_TRUE((*writer)->finish());
  const auto lines = lines_of("tshark -r '" + path + "' -T fields -e frame.comment 2>/dev/null");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0], annotation.comment.substr(0, 65'534));
}

TEST(PcapngWriter, TheFileAppearsOnlyWhenItIsFinished) {
  const TemporaryFolder folder;
  {
    auto writer = PcapngWriter::create(folder / "a.pcapng", "xnic");
    ASSERT_TRUE(writer);
    EXPECT_EQ(folder.listing(), std::vector<std::string>{"a.pcapng.tmp"});
    ASSERT_TRUE((*writer)->finish());
    EXPECT_EQ(folder.listing(), std::vector<std::string>{"a.pcapng"});
  }
  EXPECT_EQ(folder.listing(), std::vector<std::string>{"a.pcapng"});
  { ASSERT_TRUE(PcapngWriter::create(folder / "b.pcapng", "xnic")); }
  EXPECT_EQ(folder.listing(), std::vector<std::string>{"a.pcapng"});
}

TEST(PcapngWriter, APathThatCannotBeWrittenIsAnErrorAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  const auto missing = PcapngWriter::create(folder / "none/a.pcapng", "xnic");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("none/a.pcapng"), std::string::npos);
  EXPECT_TRUE(folder.listing().empty());

  std::filesystem::create_directory(folder / "taken");
  auto taken = PcapngWriter::create(folder / "taken", "xnic");
  ASSERT_TRUE(taken);
  const auto finished = (*taken)->finish();
  ASSERT_FALSE(finished);
  EXPECT_NE(finished.error().message.find("taken"), std::string::npos);
  taken->reset();
  EXPECT_EQ(folder.listing(), std::vector<std::string>{"taken"});
}

TEST(PcapngWriter, AFullDiskIsAnErrorAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  // A limit on file sizes fails writes as a full disk does, with EFBIG in place of ENOSPC.
  rlimit saved{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &saved), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1 << 20, saved.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  auto writer = PcapngWriter::create(folder / "full.pcapng", "xnic");
  Result<void> written;
  if (writer) {
    for (int i = 0; i < 100 && written; ++i) {
      written = (*writer)->write(0, Bytes(100'000), 100'000, {});
    }
    if (written) written = (*writer)->finish();
  }
  const auto finished = writer ? (*writer)->finish() : Result<void>();
  ::setrlimit(RLIMIT_FSIZE, &saved);
  std::signal(SIGXFSZ, handler);
  ASSERT_TRUE(writer);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("full.pcapng"), std::string::npos);
  EXPECT_FALSE(finished);
  writer->reset();
  EXPECT_TRUE(folder.listing().empty());
}

}  // namespace
}  // namespace xnic::traces
