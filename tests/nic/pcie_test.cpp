#include "nic/pcie.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

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

TEST(Pcie, TwiceTheLanesTakeHalfTheTime) {
  Pcie narrow(gen3(8));
  Pcie wide(gen3(16));
  EXPECT_NEAR(static_cast<double>(narrow.write(0, 4096).left),
              2.0 * static_cast<double>(wide.write(0, 4096).left), 2.0);
}

}  // namespace
}  // namespace xnic::nic
