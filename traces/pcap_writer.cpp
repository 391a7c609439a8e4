// pcap, of which the nanosecond kind is told by its magic number.
// Test: tests/traces/pcapng_writer_test.cpp.
#include "traces/pcap_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace xnic::traces {
namespace {

constexpr uint32_t kNanosecondMagic = 0xa1b23c4d;
constexpr uint32_t kVersion = 2 | 4 << 16;  // 2.4, two numbers of 16 bits
constexpr uint32_t kSnapLength = 262'144;
constexpr uint32_t kEthernet = 1;
constexpr int64_t kSecond = 1'000'000'000;

template <size_t N>
std::span<const uint8_t> raw(const std::array<uint32_t, N>& words) {
  return {reinterpret_cast<const uint8_t*>(words.data()), sizeof words};
}

}  // namespace

Result<std::unique_ptr<PcapWriter>> PcapWriter::create(const std::string& path) {
  auto file = OutputFile::create(path);
  if (!file) return tl::unexpected<Error>(file.error());
  static_assert(std::endian::native == std::endian::little);  // kVersion's halves
  const std::array<uint32_t, 6> header = {kNanosecondMagic, kVersion, 0, 0, kSnapLength, kEthernet};
  if (auto written = (*file)->write(raw(header)); !written) {
    return tl::unexpected<Error>(written.error());
  }
  return std::unique_ptr<PcapWriter>(new PcapWriter(std::move(*file)));
}

Result<void> PcapWriter::write(int64_t timestamp_ns, std::span<const uint8_t> bytes,
                               uint32_t original_length) {
  constexpr int64_t kLast = (int64_t{std::numeric_limits<uint32_t>::max()} + 1) * kSecond - 1;
  const int64_t time = std::clamp<int64_t>(timestamp_ns, 0, kLast);
  const std::array<uint32_t, 4> header = {static_cast<uint32_t>(time / kSecond),
                                          static_cast<uint32_t>(time % kSecond),
                                          static_cast<uint32_t>(bytes.size()), original_length};
  if (auto written = file_->write(raw(header)); !written) return written;
  return file_->write(bytes);
}

}  // namespace xnic::traces
