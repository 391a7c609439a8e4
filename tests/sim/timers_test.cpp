// Timers of programs: what they leave in maps when time has passed, here and on the real kernel.
#include <gtest/gtest.h>

#include "sim/comparison.h"
#include "sim/kernel_side.h"
#include "vm/interpreter.h"

namespace xnic::sim {
namespace {

class TimersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
    const std::string path = std::string(XNIC_OBJECTS) + "/timers.o";
    auto ours = KernelSide::emulated(path, engine_, 0);
    ASSERT_TRUE(ours) << ours.error().message;
    ours_ = std::move(*ours);
    auto theirs = KernelSide::real(path);
    ASSERT_TRUE(theirs) << theirs.error().message;
    theirs_ = std::move(*theirs);
  }

  RunAnswer run(KernelSide& side) { return side.run(*side.program("start"), {.data = Bytes(64)}); }

  void expect_same_maps() {
    for (const char* name : {"in_array", "in_hash", "answers"}) {
      const auto mine = ours_->contents(*ours_->map(name));
      const auto other = theirs_->contents(*theirs_->map(name));
      ASSERT_TRUE(mine && other) << name;
      EXPECT_EQ(*mine, *other) << name;
    }
  }

  vm::Interpreter engine_;
  PinnedToCpu0 pinned_;
  std::unique_ptr<KernelSide> ours_;
  std::unique_ptr<KernelSide> theirs_;
};

TEST_F(TimersTest, FireAsOnLinux) {
  for (KernelSide* side : {ours_.get(), theirs_.get()}) {
    const RunAnswer answer = run(*side);
    ASSERT_EQ(answer.error, 0);
    EXPECT_EQ(answer.code, static_cast<uint32_t>(XDP_PASS));
    side->pass_milliseconds(200);
  }
  expect_same_maps();
  // Something did fire.
  const auto array = ours_->contents(*ours_->map("in_array"));
  EXPECT_EQ(array->at({2, 0, 0, 0})[0], 3);
}

TEST_F(TimersTest, OfEntriesThatAreReplacedNeverFire) {
  for (KernelSide* side : {ours_.get(), theirs_.get()}) {
    ASSERT_EQ(run(*side).error, 0);
    side->pass_milliseconds(100);
    ASSERT_EQ(run(*side).error, 0);
    const SideMap& array = *side->map("in_array");
    EXPECT_EQ(side->update(array, {2, 0, 0, 0}, Bytes(array.value_size)), 0);
    side->pass_milliseconds(100);
  }
  expect_same_maps();
}

}  // namespace
}  // namespace xnic::sim
