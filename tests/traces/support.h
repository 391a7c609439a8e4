#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace xnic::traces {

using Bytes = std::vector<uint8_t>;

// A folder that goes with the test.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string write(std::string_view name, const Bytes& content) const;
  // Names of what is in it.
  std::vector<std::string> listing() const;

 private:
  std::filesystem::path path_;
};

Bytes read_file(const std::string& path);
// The shipped captures, by path.
std::vector<std::string> shipped_captures();
// The lines that a shell command prints; the test fails if the command does.
std::vector<std::string> lines_of(const std::string& command);

// A packet as a test writes it into a capture.
struct Sample {
  int64_t timestamp_ns = 0;
  Bytes bytes;
  uint32_t original_length = 0;  // 0: the length of the bytes
};

// `count` frames of different lengths and contents, 1.5 microseconds apart.
std::vector<Sample> samples(size_t count);

// How a capture is laid out, by the formats' own documents (draft-ietf-opsawg-pcap, -pcapng).
struct Layout {
  bool big_endian = false;
  bool nanoseconds = true;
  uint32_t link_type = 1;
};

struct Capture {
  Bytes bytes;
  // Offsets: past the header(s) before the first packet, then past each packet.
  std::vector<size_t> ends;
};

Capture make_pcap(const std::vector<Sample>& packets, const Layout& layout);
Capture make_pcapng(const std::vector<Sample>& packets, const Layout& layout);
// Appends an integer of `size` bytes.
void append(Bytes& bytes, uint64_t value, size_t size, bool big_endian);

}  // namespace xnic::traces
