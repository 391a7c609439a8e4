// Reading a capture from the page cache: nanoseconds a packet, ours beside libpcap's own loop.
// Each reader looks at the first bytes of every packet.
#include <benchmark/benchmark.h>
#include <pcap/pcap.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "traces/reader.h"

namespace xnic::traces {
namespace {

constexpr size_t kPackets = 1'000'000;

// A capture of a million packets of these lengths in turn, which goes with the process.
class CaptureFile {
 public:
  explicit CaptureFile(std::span<const uint32_t> lengths) {
    path_ = std::filesystem::temp_directory_path() /
            ("xnic-bench-" + std::to_string(::getpid()) + "-" + std::to_string(lengths.size()));
    pcap_t* format = pcap_open_dead(DLT_EN10MB, 65'535);
    pcap_dumper_t* file = pcap_dump_open(format, path_.c_str());
    std::vector<uint8_t> bytes(2'000);
    for (size_t i = 0; file != nullptr && i < kPackets; ++i) {
      const uint32_t length = lengths[i % lengths.size()];
      std::memcpy(bytes.data(), &i, sizeof i);
      const pcap_pkthdr header{{1'000'000'000, static_cast<suseconds_t>(i)}, length, length};
      pcap_dump(reinterpret_cast<u_char*>(file), &header, bytes.data());
    }
    if (file != nullptr) pcap_dump_close(file);
    pcap_close(format);
  }
  ~CaptureFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

const std::string& capture(bool mixed) {
  static constexpr std::array<uint32_t, 1> kSmall = {64};
  // The simple Internet mix: seven small, four middle, one large.
  static constexpr std::array<uint32_t, 12> kMix = {64, 594, 64, 64,  594, 64,
                                                    64, 594, 64, 594, 64,  1518};
  static const CaptureFile small(kSmall);
  static const CaptureFile mix(kMix);
  return (mixed ? mix : small).path();
}

uint64_t head(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

void finish(benchmark::State& state, uint64_t sum) {
  if (sum != kPackets * (kPackets - 1) / 2) state.SkipWithError("not every packet was read");
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kPackets));
}

void libpcap(benchmark::State& state, bool mixed) {
  const std::string& path = capture(mixed);
  uint64_t sum = 0;
  for (auto _ : state) {
    sum = 0;
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    pcap_t* file = pcap_open_offline(path.c_str(), error.data());
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    while (file != nullptr && pcap_next_ex(file, &header, &data) == 1) sum += head(data);
    if (file != nullptr) pcap_close(file);
  }
  finish(state, sum);
}

void xnic(benchmark::State& state, bool mixed) {
  const std::string& path = capture(mixed);
  uint64_t sum = 0;
  for (auto _ : state) {
    sum = 0;
    auto reader = Reader::open(path, "");
    std::array<Record, 64> records;
    for (;;) {
      const auto got = (*reader)->next_burst(records);
      if (!got || *got == 0) break;
      for (size_t i = 0; i < *got; ++i) sum += head(records[i].bytes.data());
    }
  }
  finish(state, sum);
}

BENCHMARK_CAPTURE(libpcap, 64_bytes, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(xnic, 64_bytes, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(libpcap, imix, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(xnic, imix, true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace xnic::traces
