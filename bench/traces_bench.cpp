// Reading a capture from the page cache: nanoseconds a packet, ours beside libpcap's own loop.
// Each reader looks at the first bytes of every packet.
#include <benchmark/benchmark.h>
#include <pcap/pcap.h>

#include <cstring>
#include <vector>

#include "bench/capture_file.h"
#include "traces/reader.h"

namespace xnic::traces {
namespace {

constexpr uint32_t kPackets = 1'000'000;

const std::string& capture(bool mixed) {
  const auto numbered = [](uint64_t number, uint32_t length) {
    std::vector<uint8_t> bytes(length);
    std::memcpy(bytes.data(), &number, sizeof number);
    return bytes;
  };
  static const bench::CaptureFile small(kPackets, bench::kSmallFrames, numbered);
  static const bench::CaptureFile mix(kPackets, bench::kMixedFrames, numbered);
  return (mixed ? mix : small).path();
}

uint64_t head(const uint8_t* bytes) {
  uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

void finish(benchmark::State& state, uint64_t sum) {
  if (sum != uint64_t{kPackets} * (kPackets - 1) / 2)
    state.SkipWithError("not every packet was read");
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
