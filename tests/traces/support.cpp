#include "tests/traces/support.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

namespace xnic::traces {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "xnic-traces-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary folder";
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(std::string_view name, const Bytes& content) const {
  const std::string path = *this / name;
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size()));
  EXPECT_TRUE(file.flush()) << path;
  return path;
}

std::vector<std::string> TemporaryFolder::listing() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::string> shipped_captures() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(XNIC_TRACES_DATA)) {
    if (entry.path().extension() != ".md") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  EXPECT_GE(paths.size(), 10u);
  return paths;
}

std::vector<std::string> lines_of(const std::string& command) {
  std::vector<std::string> lines;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) {
    ADD_FAILURE() << command;
    return lines;
  }
  char* line = nullptr;
  size_t capacity = 0;
  for (ssize_t length; (length = ::getline(&line, &capacity, pipe)) >= 0;) {
    while (length > 0 && line[length - 1] == '\n') --length;
    lines.emplace_back(line, static_cast<size_t>(length));
  }
  ::free(line);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return lines;
}

std::vector<Sample> samples(size_t count) {
  std::vector<Sample> packets;
  for (size_t i = 0; i < count; ++i) {
    Sample sample{1'700'000'000'000'000'000 + static_cast<int64_t>(i) * 1'500, Bytes(14 + 7 * i),
                  0};
    for (size_t j = 0; j < sample.bytes.size(); ++j) {
      sample.bytes[j] = static_cast<uint8_t>(31 * i + j);
    }
    packets.push_back(std::move(sample));
  }
  return packets;
}

void append(Bytes& bytes, uint64_t value, size_t size, bool big_endian) {
  for (size_t i = 0; i < size; ++i) {
    const size_t place = big_endian ? size - 1 - i : i;
    bytes.push_back(static_cast<uint8_t>(value >> (8 * place)));
  }
}

Capture make_pcap(const std::vector<Sample>& packets, const Layout& layout) {
  Capture capture;
  const auto put = [&](uint64_t value, size_t size) {
    append(capture.bytes, value, size, layout.big_endian);
  };
  put(layout.nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, 4);
  put(2, 2);
  put(4, 2);
  put(0, 8);
  put(262'144, 4);
  put(layout.link_type, 4);
  capture.ends.push_back(capture.bytes.size());
  for (const Sample& packet : packets) {
    const auto time = static_cast<uint64_t>(packet.timestamp_ns);
    put(time / 1'000'000'000, 4);
    put(time % 1'000'000'000 / (layout.nanoseconds ? 1 : 1'000), 4);
    put(packet.bytes.size(), 4);
    put(packet.original_length ? packet.original_length : packet.bytes.size(), 4);
    capture.bytes.insert(capture.bytes.end(), packet.bytes.begin(), packet.bytes.end());
    capture.ends.push_back(capture.bytes.size());
  }
  return capture;
}

Capture make_pcapng(const std::vector<Sample>& packets, const Layout& layout) {
  Capture capture;
  const auto put = [&](uint64_t value, size_t size) {
    append(capture.bytes, value, size, layout.big_endian);
  };
  put(0x0a0d0d0a, 4);
  put(28, 4);
  put(0x1a2b3c4d, 4);
  put(1, 2);
  put(0, 2);
  put(~uint64_t{0}, 8);
  put(28, 4);

  put(1, 4);
  put(32, 4);
  put(layout.link_type, 2);
  put(0, 2);
  put(262'144, 4);
  put(9, 2);  // if_tsresol
  put(1, 2);
  put(layout.big_endian ? (layout.nanoseconds ? 0x09000000 : 0x06000000)
                        : (layout.nanoseconds ? 9 : 6),
      4);
  put(0, 4);
  put(32, 4);
  capture.ends.push_back(capture.bytes.size());

  for (const Sample& packet : packets) {
    const uint64_t time =
        static_cast<uint64_t>(packet.timestamp_ns) / (layout.nanoseconds ? 1 : 1'000);
    const size_t padding = (4 - packet.bytes.size() % 4) % 4;
    const size_t length = 32 + packet.bytes.size() + padding;
    put(6, 4);
    put(length, 4);
    put(0, 4);
    put(time >> 32, 4);
    put(time & 0xffffffff, 4);
    put(packet.bytes.size(), 4);
    put(packet.original_length ? packet.original_length : packet.bytes.size(), 4);
    capture.bytes.insert(capture.bytes.end(), packet.bytes.begin(), packet.bytes.end());
    put(0, padding);
    put(length, 4);
    capture.ends.push_back(capture.bytes.size());
  }
  return capture;
}

}  // namespace xnic::traces
