// The example of address translation as it works in both directions: what its egress program made
// of a packet comes back, ends exchanged, to its ingress program, here and on the real kernel.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "sim/comparison.h"
#include "sim/kernel_side.h"
#include "traces/reader.h"
#include "vm/interpreter.h"

namespace xnic::test {
namespace {

using sim::Bytes;
using sim::KernelSide;

constexpr size_t kAddresses = 26;  // of IPv4 in a frame
constexpr size_t kPorts = 34;

bool can_be_translated(const Bytes& frame) {
  return frame.size() >= 54 && frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 &&
         (frame[23] == 6 || frame[23] == 17) && (frame[20] & 0x3f) == 0 && frame[21] == 0;
}

// The sum over 16-bit words that both checksums of a packet make whole (RFC 1071).
bool has_good_checksums(const Bytes& frame) {
  const auto word = [&](size_t at) {
    const uint32_t low = at + 1 < frame.size() ? frame[at + 1] : 0;
    return static_cast<uint32_t>(frame[at]) << 8 | low;
  };
  const auto fold = [](uint32_t sum) {
    while (sum > UINT16_MAX) sum = (sum & UINT16_MAX) + (sum >> 16);
    return sum;
  };
  uint32_t header = 0;
  for (size_t at = 14; at < 34; at += 2) header += word(at);
  const size_t length = word(16) - 20;
  if (frame.size() < 34 + length) return true;  // cut: nobody can tell
  uint32_t payload = frame[23] + static_cast<uint32_t>(length);
  for (size_t at = kAddresses; at < kPorts; at += 2) payload += word(at);
  for (size_t i = 0; i < length; i += 2) {
    payload += i + 1 < length ? word(34 + i) : static_cast<uint32_t>(frame[34 + i]) << 8;
  }
  return fold(header) == UINT16_MAX && fold(payload) == UINT16_MAX;
}

Bytes answer_to(Bytes frame) {
  std::swap_ranges(frame.begin() + kAddresses, frame.begin() + kAddresses + 4,
                   frame.begin() + kAddresses + 4);
  std::swap_ranges(frame.begin() + kPorts, frame.begin() + kPorts + 2, frame.begin() + kPorts + 2);
  return frame;
}

TEST(NatExample, TranslatesBackWhatItTranslated) {
  if (const std::string why = sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
  const sim::PinnedToCpu0 pinned;
  const std::string object = std::string(XNIC_EXAMPLES) + "/nat.o";
  vm::Interpreter engine;
  auto ours = KernelSide::emulated(object, engine, 1);
  ASSERT_TRUE(ours) << ours.error().message;
  auto theirs = KernelSide::real(object);
  ASSERT_TRUE(theirs) << theirs.error().message;

  const auto both = [&](const char* program, const Bytes& frame) {
    const sim::RunRequest request = sim::request_for(frame, BPF_PROG_TYPE_SCHED_CLS);
    const auto mine = (*ours)->run(*(*ours)->program(program), request);
    const auto other = (*theirs)->run(*(*theirs)->program(program), request);
    EXPECT_TRUE(sim::differences(mine, other).empty()) << program;
    return mine;
  };
  size_t translated = 0;
  for (const char* name : {"http4.pcap", "dns.pcap", "portscan.pcap", "bulk.pcap"}) {
    auto reader = traces::Reader::open(std::string(XNIC_CAPTURES) + "/" + name, "");
    ASSERT_TRUE(reader) << reader.error().message;
    traces::Record record;
    while ((*reader)->next(record).value_or(false)) {
      const Bytes frame(record.bytes.begin(), record.bytes.end());
      if (!can_be_translated(frame)) continue;
      const auto out = both("leave", frame);
      ASSERT_EQ(out.code, 0u) << name;
      const Bytes sent(out.data.begin(), out.data.begin() + out.data_size);
      EXPECT_NE(sent, frame);
      if (has_good_checksums(frame)) {
        EXPECT_TRUE(has_good_checksums(sent)) << name;
      }
      const auto in = both("enter", answer_to(sent));
      ASSERT_EQ(in.code, 0u) << name;
      const Bytes back(in.data.begin(), in.data.begin() + in.data_size);
      // But for the checksums, whose two zeros are one: the frame as it was, ends exchanged.
      Bytes expected = answer_to(frame);
      for (const size_t at : {size_t{24}, size_t{frame[23] == 6 ? 50u : 40u}}) {
        std::copy_n(back.begin() + static_cast<ptrdiff_t>(at), 2,
                    expected.begin() + static_cast<ptrdiff_t>(at));
      }
      EXPECT_EQ(back, expected) << name;
      if (has_good_checksums(frame)) {
        EXPECT_TRUE(has_good_checksums(back)) << name;
      }
      ++translated;
    }
  }
  EXPECT_GT(translated, 50u);
  for (const char* name : {"outgoing", "incoming", "statistics"}) {
    EXPECT_EQ(*(*ours)->contents(*(*ours)->map(name)), *(*theirs)->contents(*(*theirs)->map(name)))
        << name;
  }
}

}  // namespace
}  // namespace xnic::test
