// The limits of loops that the verifier cannot bound. bpf_loop's is a number; that of may_goto is a
// time on Linux with a timer for it (x86-64 from 6.15 on), and never fewer rounds than without.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "sim/kernel_side.h"
#include "vm/interpreter.h"
#include "vm/isa.h"

namespace xnic::test {
namespace {

using sim::KernelSide;

class LoopLimits : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
    ours_ = load(KernelSide::emulated(kObject, engine_, 1));
    theirs_ = load(KernelSide::real(kObject));
    ASSERT_TRUE(ours_ && theirs_);
  }

  static std::unique_ptr<KernelSide> load(Result<std::unique_ptr<KernelSide>> side) {
    EXPECT_TRUE(side) << side.error().message;
    return side ? std::move(*side) : nullptr;
  }

  // What `program` leaves in the map `rounds`, by key.
  static std::map<uint8_t, int64_t> rounds(KernelSide& side, const std::string& program) {
    const auto answer = side.run(*side.program(program), {.data = sim::Bytes(64)});
    EXPECT_EQ(answer.error, 0);
    EXPECT_EQ(answer.code, XDP_PASS);
    std::map<uint8_t, int64_t> found;
    const auto entries = side.contents(*side.map("rounds"));
    EXPECT_TRUE(entries);
    if (!entries) return found;
    for (const auto& [key, value] : *entries) {
      std::memcpy(&found[key[0]], value.data(), sizeof(int64_t));
    }
    return found;
  }

  const std::string kObject = XNIC_LOOP_LIMITS;
  vm::Interpreter engine_;
  std::unique_ptr<KernelSide> ours_, theirs_;
};

TEST_F(LoopLimits, OfBpfLoopIsThatOfLinux) {
  const auto ours = rounds(*ours_, "by_bpf_loop");
  EXPECT_EQ(ours.at(1), int64_t{1} << 23);
  EXPECT_EQ(ours, rounds(*theirs_, "by_bpf_loop"));
}

TEST_F(LoopLimits, OfMayGotoIsThatOfLinuxWithoutATimer) {
  const auto ours = rounds(*ours_, "by_may_goto");
  EXPECT_EQ(ours.at(0), vm::kMaxLoops);
  EXPECT_GE(rounds(*theirs_, "by_may_goto").at(0), ours.at(0));
}

}  // namespace
}  // namespace xnic::test
