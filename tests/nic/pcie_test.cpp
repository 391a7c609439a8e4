#include "nic/pcie.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace xnic::nic {
namespace {

NicProfile gen3(int lanes) {
  NicProfile profile = load_profile("generic-100g").value();
  profile.lanes.value = lanes;
  return profile;
}

// Gb/s of payload when each transfer puts so many bytes on the busier direction.
std::string effective(const Pcie& pcie, uint64_t payload, uint64_t on_link) {
  return fmt::format("{:.2f}", pcie.transaction_gbps() * static_cast<double>(payload) /
                                   static_cast<double>(on_link));
}

// Neugebauer et al., "Understanding PCIe performance for end host networking", SIGCOMM 2018:
// the authors' model of Gen3 x8 with MPS 256 and MRRS 512, to the printed digits.
TEST(Pcie, EffectiveBandwidthsAreThoseOfThePublishedModel) {
  const Pcie pcie(gen3(8));
  EXPECT_EQ(fmt::format("{:.2f}", pcie.transaction_gbps()), "57.88");
  struct Row {
    uint64_t bytes;
    const char* write;
    const char* read;
    const char* both;
  };
  for (const Row& row : {Row{64, "42.10", "44.10", "33.08"}, Row{256, "52.92", "53.69", "48.75"},
                         Row{1024, "52.92", "53.69", "50.75"}}) {
    const uint64_t write = pcie.write_bytes(row.bytes);
    const uint64_t request = pcie.read_request_bytes(row.bytes);
    const uint64_t completion = pcie.read_completion_bytes(row.bytes);
    EXPECT_EQ(effective(pcie, row.bytes, write), row.write) << row.bytes;
    EXPECT_EQ(effective(pcie, row.bytes, std::max(request, completion)), row.read) << row.bytes;
    EXPECT_EQ(effective(pcie, row.bytes, std::max(write + request, completion)), row.both)
        << row.bytes;
  }
}

TEST(Pcie, BackToBackWritesReachTheModelsBandwidth) {
  Pcie pcie(gen3(8));
  constexpr int kWrites = 10'000;
  Pcie::Transfer last{};
  for (int i = 0; i < kWrites; ++i) last = pcie.write(0, 64);
  const double gbps = kWrites * 64 * 8.0 / (static_cast<double>(last.left) / 1000.0);
  EXPECT_NEAR(gbps, 42.10, 0.01);
}

// pcie-bench data of an NFP-6000 on a Haswell Xeon, 64 bytes: a read takes 598.9 ns, a write and
// the read after it 804.5 ns.
TEST(Pcie, ASmallTransferTakesTheMeasuredLatency) {
  Pcie pcie(gen3(8));
  const double write = static_cast<double>(pcie.write(0, 64).done) / 1000;
  const double read = static_cast<double>(pcie.read(0, 64).done) / 1000;
  EXPECT_NEAR(read, 598.9, 0.05 * 598.9);
  EXPECT_NEAR(write + read, 804.5, 0.05 * 804.5);
}

NicProfile nfp() { return load_profile("agilio-cx-40g").value(); }

double nanoseconds(Picoseconds time) { return static_cast<double>(time) / 1000; }

double within(double percent, double published) { return percent / 100 * published; }

// pcie-bench data of an NFP-6000 on a Xeon E5-2637v3.
TEST(Pcie, ReadsOfEachSizeTakeTheMeasuredLatency) {
  const std::vector<std::pair<uint64_t, double>> rows = {
      {64, 598.9}, {256, 671.2}, {1024, 901.7}, {2048, 1179.8}};
  for (const auto& [bytes, published] : rows) {
    EXPECT_NEAR(nanoseconds(Pcie(nfp()).read(0, bytes).done), published, within(5, published))
        << bytes;
  }
}

TEST(Pcie, AWriteAndTheReadAfterItTakeTheMeasuredLatency) {
  const std::vector<std::pair<uint64_t, double>> rows = {{64, 804.5}, {1024, 1310}};
  for (const auto& [bytes, published] : rows) {
    Pcie pcie(nfp());
    const Picoseconds written = pcie.write(0, bytes).done;
    EXPECT_NEAR(nanoseconds(pcie.read(written, bytes).done), published, within(5, published))
        << bytes;
  }
}

// From a cold cache a read takes 648.9 ns, from a warm one 597.2 ns.
TEST(Pcie, AReadFromDramTakesTheMeasuredLatency) {
  const double miss = nfp().card_miss_ns.value;
  EXPECT_NEAR(nanoseconds(Pcie(nfp()).read(0, 64, 0, from_nanoseconds(miss)).done), 648.9,
              within(1, 648.9));
}

constexpr int kMany = 20'000;

// Gb/s of reads that take turns over so many pages.
double read_gbps(const NicProfile& profile, uint64_t bytes, uint64_t pages = 1) {
  Pcie pcie(profile);
  Pcie::Transfer last{};
  for (uint64_t i = 0; i < kMany; ++i) last = pcie.read(0, bytes, i % pages * 4096);
  return kMany * static_cast<double>(bytes) * 8 / nanoseconds(last.done);
}

double write_gbps(const NicProfile& profile, uint64_t bytes) {
  Pcie pcie(profile);
  Pcie::Transfer last{};
  for (int i = 0; i < kMany; ++i) last = pcie.write(0, bytes);
  return kMany * static_cast<double>(bytes) * 8 / nanoseconds(last.done);
}

TEST(Pcie, TagsAndCreditsHoldSmallTransfersToTheMeasuredBandwidth) {
  EXPECT_NEAR(read_gbps(nfp(), 64), 28.65, within(5, 28.65));
  EXPECT_NEAR(read_gbps(nfp(), 512), 55.11, within(5, 55.11));
  EXPECT_NEAR(write_gbps(nfp(), 64), 24.27, within(5, 24.27));
  EXPECT_NEAR(write_gbps(nfp(), 512), 54.44, within(5, 54.44));
}

// pcie-bench data of an NFP-6000 on a Broadwell host, whose read latency is fitted to its 32.5 Gb/s
// of local reads of 64 bytes.
NicProfile broadwell() {
  NicProfile profile = nfp();
  profile.read_latency_ns.value = 489;
  return profile;
}

TEST(Pcie, ReadsFromAnotherSocketComeToTheMeasuredBandwidth) {
  NicProfile profile = broadwell();
  EXPECT_NEAR(read_gbps(profile, 64), 32.5, within(5, 32.5));
  profile.numa_ns.value = 124;
  EXPECT_NEAR(read_gbps(profile, 64), 25.3, within(5, 25.3));
}

// Windows of 256 KiB and of 64 MiB in pages of 4 KiB.
TEST(Pcie, AnIommuHoldsReadsOfAWindowToTheMeasuredBandwidth) {
  NicProfile profile = broadwell();
  profile.iommu_entries.value = 64;
  EXPECT_NEAR(read_gbps(profile, 64, 64), 32.4, within(5, 32.4));
  EXPECT_NEAR(read_gbps(profile, 64, 16'384), 9.8, within(5, 9.8));
}

// The published model's bandwidth of reads and writes at the same time, 33.08 Gb/s each of 64
// bytes, from transfers that contend for the link.
TEST(Pcie, ReadRequestsHoldUpWrites) {
  Pcie pcie(gen3(8));
  Pcie::Transfer write{};
  Pcie::Transfer read{};
  for (int i = 0; i < kMany; ++i) {
    read = pcie.read(write.left, 64);
    write = pcie.write(0, 64);
  }
  EXPECT_NEAR(kMany * 64 * 8.0 / nanoseconds(write.left), 33.08, 0.05);
}

TEST(Pcie, SmallerCompletionsTakeMoreOfTheLink) {
  NicProfile profile = gen3(8);
  profile.read_completion_bytes.value = 64;
  // 512 bytes in 8 completions with headers of 20 bytes each, 57.88 Gb/s.
  EXPECT_NEAR(read_gbps(profile, 512), 57.88 * 512 / (512 + 8 * 20), 1);
}

TEST(Pcie, TwiceTheLanesTakeHalfTheTime) {
  Pcie narrow(gen3(8));
  Pcie wide(gen3(16));
  EXPECT_NEAR(static_cast<double>(narrow.write(0, 4096).left),
              2.0 * static_cast<double>(wide.write(0, 4096).left), 2.0);
}

}  // namespace
}  // namespace xnic::nic
