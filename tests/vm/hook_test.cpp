// Hooks: names, where sections attach, and what a run of one does to a packet and its counters.
#include "vm/hook.h"

#include <gtest/gtest.h>
#include <linux/pkt_cls.h>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"

namespace xnic::vm {
namespace {

using namespace test;  // NOLINT: the instructions' names

TEST(Hook, NamesReadBack) {
  for (const std::string_view name :
       {"xdp.offload", "xdp.native", "xdp.generic", "tc.ingress", "tc.egress"}) {
    ASSERT_TRUE(parse_hook(name).has_value()) << name;
    EXPECT_EQ(hook_name(*parse_hook(name)), name);
  }
  for (const std::string_view name : {"", "xdp", "tc", "tc.ingres", "tc.ingress ", "XDP.NATIVE"}) {
    EXPECT_FALSE(parse_hook(name).has_value()) << name;
  }
}

TEST(Hook, SectionsSayWhereAProgramAttaches) {
  for (const std::string_view section : {"xdp", "xdp.frags", "?xdp", "xdp/filter"}) {
    EXPECT_EQ(hook_of_section(section), HookPoint::xdp_native) << section;
  }
  for (const std::string_view section : {"tc", "classifier", "tc/ingress", "tcx/ingress"}) {
    EXPECT_EQ(hook_of_section(section), HookPoint::tc_ingress) << section;
  }
  for (const std::string_view section : {"tc/egress", "tcx/egress", "classifier/egress"}) {
    EXPECT_EQ(hook_of_section(section), HookPoint::tc_egress) << section;
  }
  for (const std::string_view section : {"", "kprobe/f", ".text", "socket"}) {
    EXPECT_FALSE(hook_of_section(section).has_value()) << section;
  }
}

class HookRun : public testing::Test {
 protected:
  std::shared_ptr<const Program> program(bpf_prog_type type, const Instructions& instructions) {
    const Descriptor fd = host_.load(type, instructions);
    EXPECT_EQ(fd.error(), 0);
    return kernel_.program_by_fd(fd.fd());
  }

  Interpreter engine_;
  // Programs that do harm are loaded, too: what then happens to the packet is to be seen.
  Kernel kernel_{engine_, {.verify_values = false}};
  EmulatedKernel host_{kernel_};
  Environment environment_;
  Packet packet_{Bytes(64)};
};

TEST_F(HookRun, GivesVerdictLengthsAndInstructions) {
  Hook hook(HookPoint::xdp_native);
  hook.attach(program(BPF_PROG_TYPE_XDP,
                      {move(r2, 10), call(BPF_FUNC_xdp_adjust_head), move(r0, XDP_TX), leave()}));
  const HookResult result = hook.run(packet_, environment_);
  EXPECT_EQ(result.verdict, "XDP_TX");
  EXPECT_EQ(result.action, Action::tx);
  EXPECT_EQ(result.code, 3u);
  EXPECT_EQ(result.length_in, 64u);
  EXPECT_EQ(result.length_out, 54u);
  EXPECT_EQ(result.instructions, 4u);
  EXPECT_FALSE(result.fault);
}

TEST_F(HookRun, AbortsAndCountsAFault) {
  Hook hook(HookPoint::xdp_native);
  // Reads one byte past the end of the frame.
  hook.attach(program(BPF_PROG_TYPE_XDP, {load(4, r2, r1, 4), load(1, r0, r2, 0), leave()}));
  for (int i = 0; i < 40; ++i) {
    const HookResult result = hook.run(packet_, environment_);
    EXPECT_TRUE(result.fault);
    EXPECT_EQ(result.action, Action::aborted);
    EXPECT_EQ(result.verdict, "XDP_ABORTED");
  }
  EXPECT_EQ(hook.statistics().faults, 40u);
  EXPECT_EQ(hook.statistics().verdicts.at("XDP_ABORTED"), 40u);
  ASSERT_EQ(hook.faults().size(), 16u);
  EXPECT_NE(hook.faults()[0].find("instruction 1"), std::string::npos) << hook.faults()[0];
}

TEST_F(HookRun, TakesThe32LowBitsOfATcAnswer) {
  Hook hook(HookPoint::tc_ingress);
  hook.attach(program(BPF_PROG_TYPE_SCHED_CLS, {move(r0, -1), leave()}));
  const HookResult result = hook.run(packet_, environment_);
  EXPECT_EQ(result.code, 0xffffffffu);
  EXPECT_EQ(result.verdict, "TC_ACT_UNSPEC");
  EXPECT_EQ(result.action, Action::pass);
}

TEST_F(HookRun, AddsUpRunsByVerdict) {
  Hook hook(HookPoint::xdp_offload);
  hook.attach(program(BPF_PROG_TYPE_XDP, {move(r0, XDP_DROP), leave()}));
  hook.run(packet_, environment_);
  hook.run(packet_, environment_);
  hook.attach(program(BPF_PROG_TYPE_XDP, {move(r0, 99), leave()}));
  hook.run(packet_, environment_);
  EXPECT_EQ(hook.statistics().runs, 3u);
  EXPECT_EQ(hook.statistics().instructions, 6u);
  EXPECT_EQ(hook.statistics().verdicts.at("XDP_DROP"), 2u);
  EXPECT_EQ(hook.statistics().verdicts.at("XDP_ABORTED"), 1u);
}

}  // namespace
}  // namespace xnic::vm
