// The table of helpers: ids and names against linux/bpf.h, rows against each other, and the helpers
// whose answer needs no map or packet. The others are held against Linux in tests/differential.
#include "vm/helper.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include <map>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"

namespace xnic::vm {
namespace {

using namespace test;  // NOLINT: the instructions' names

TEST(Helper, HasTheIdsAndNamesOfLinux) {
  const std::map<uint32_t, std::string_view> names = {
#define XNIC_NAME(name, ...) {BPF_FUNC_##name, "bpf_" #name}
      __BPF_FUNC_MAPPER(XNIC_NAME)
#undef XNIC_NAME
  };
  for (const Helper& helper : helpers()) {
    const auto known = names.find(helper.id);
    if (known == names.end()) {
      EXPECT_GT(helper.id, names.rbegin()->first) << helper.name << " is not in linux/bpf.h";
      continue;
    }
    EXPECT_EQ(helper.name, known->second);
  }
}

TEST(Helper, HasOneRowForAnIdAndProgramType) {
  for (const uint32_t type : {kXdp, kTc, kSocketFilter}) {
    std::map<uint32_t, int> rows;
    for (const Helper& helper : helpers()) rows[helper.id] += (helper.program_types & type) != 0;
    for (const auto& [id, count] : rows) EXPECT_LE(count, 1) << id;
  }
  EXPECT_EQ(find_helper(100000), nullptr);
  EXPECT_EQ(find_helper(BPF_FUNC_redirect, kSocketFilter), nullptr);
  EXPECT_NE(find_helper(BPF_FUNC_redirect, kXdp), find_helper(BPF_FUNC_redirect, kTc));
}

class HelperRun : public testing::Test {
 protected:
  uint32_t run(bpf_prog_type type, const Instructions& instructions) {
    const Descriptor program = host_.load(type, instructions);
    EXPECT_EQ(program.error(), 0);
    const RunAnswer answer = host_.run(program.fd(), {.data = Bytes(64), .context = {}});
    EXPECT_EQ(answer.error, 0);
    return answer.code;
  }

  Interpreter engine_;
  Kernel kernel_{engine_, {.possible_cpus = 1, .seed = 5}};
  EmulatedKernel host_{kernel_};
};

TEST_F(HelperRun, GivesTheTimeAndCpuOfTheEnvironment) {
  kernel_.environment().now_ns = 123456;
  kernel_.environment().cpu = 7;
  EXPECT_EQ(run(BPF_PROG_TYPE_XDP, {call(BPF_FUNC_ktime_get_ns), leave()}), 123456u);
  EXPECT_EQ(run(BPF_PROG_TYPE_XDP, {call(BPF_FUNC_get_smp_processor_id), leave()}), 7u);
}

TEST_F(HelperRun, GivesTheSameRandomNumbersForTheSameSeed) {
  const Instructions program = {call(BPF_FUNC_get_prandom_u32), leave()};
  Kernel again(engine_, {.possible_cpus = 1, .seed = 5});
  Kernel other(engine_, {.possible_cpus = 1, .seed = 6});
  int different = 0;
  for (int i = 0; i < 20; ++i) {
    const uint32_t number = run(BPF_PROG_TYPE_XDP, program);
    EXPECT_EQ(again.environment().prng.next(), number);
    different += other.environment().prng.next() != number;
  }
  EXPECT_GT(different, 15);
}

// net/core/filter.c: XDP refuses every flag with XDP_ABORTED, tc all but BPF_F_INGRESS with SHOT.
TEST_F(HelperRun, RedirectsByTheRulesOfTheProgramType) {
  const auto redirect = [](int32_t flags) {
    return Instructions{move(r1, 1000), move(r2, flags), call(BPF_FUNC_redirect), leave()};
  };
  EXPECT_EQ(run(BPF_PROG_TYPE_XDP, redirect(0)), uint32_t{XDP_REDIRECT});
  EXPECT_EQ(run(BPF_PROG_TYPE_XDP, redirect(1)), uint32_t{XDP_ABORTED});
  EXPECT_EQ(run(BPF_PROG_TYPE_SCHED_CLS, redirect(0)), uint32_t{TC_ACT_REDIRECT});
  EXPECT_EQ(run(BPF_PROG_TYPE_SCHED_CLS, redirect(BPF_F_INGRESS)), uint32_t{TC_ACT_REDIRECT});
  EXPECT_EQ(run(BPF_PROG_TYPE_SCHED_CLS, redirect(2)), uint32_t{TC_ACT_SHOT});
}

TEST_F(HelperRun, AsksForAGplLicenseWhereLinuxDoes) {
  for (const Helper& helper : helpers()) {
    if (helper.program_types != kAnyType && (helper.program_types & kXdp) == 0) continue;
    // Linux looks at the license before the arguments, so that zeros will do.
    const Instructions program = {move(r1, 0), move(r2, 0), move(r3, 0),
                                  move(r4, 0), move(r5, 0), call(static_cast<int32_t>(helper.id)),
                                  move(r0, 0), leave()};
    bpf_attr attr{};
    attr.prog_type = BPF_PROG_TYPE_XDP;
    attr.insns = address_of(program.data());
    attr.insn_cnt = static_cast<uint32_t>(program.size());
    attr.license = address_of("Proprietary");
    std::array<char, 4096> log{};
    attr.log_buf = address_of(log.data());
    attr.log_size = log.size();
    attr.log_level = 1;
    XNIC_NEEDS_REAL_KERNEL();
    RealKernel real;
    const Descriptor loaded(real.bpf(BPF_PROG_LOAD, attr));
    const bool restricted = std::string_view(log.data()).find("GPL") != std::string_view::npos;
    EXPECT_EQ(helper.gpl_only, restricted) << helper.name;
  }
}

}  // namespace
}  // namespace xnic::vm
