#include "vm/verifier/control_flow.h"

#include <gtest/gtest.h>

#include "tests/support/instructions.h"

namespace xnic::vm::verifier {
namespace {

using namespace xnic::test;

ControlFlow flow_of(const Instructions& code, std::vector<Subprogram> functions = {}) {
  ProgramSpec spec;
  spec.type = BPF_PROG_TYPE_XDP;
  spec.instructions = code;
  if (functions.empty()) functions = {{0, static_cast<uint32_t>(code.size()), "main"}};
  return analyse_control_flow(spec, functions);
}

bool is_live(const ControlFlow& flow, uint32_t index, uint32_t number) {
  return (flow.places[index].live >> number & 1) != 0;
}

TEST(ControlFlow, RegistersLiveFromWriteToLastRead) {
  const ControlFlow flow = flow_of({
      move(r6, r1),             // 0
      move(r7, 5),              // 1
      jump(BPF_JEQ, r6, 0, 1),  // 2
      move(r0, r7),             // 3
      move(r0, 1),              // 4
      leave(),                  // 5
  });
  EXPECT_TRUE(is_live(flow, 0, 1));
  EXPECT_FALSE(is_live(flow, 1, 1));
  EXPECT_TRUE(is_live(flow, 2, 6));
  EXPECT_TRUE(is_live(flow, 2, 7)) << "read on one of two ways";
  EXPECT_FALSE(is_live(flow, 1, 7)) << "overwritten before it is read";
  EXPECT_FALSE(is_live(flow, 4, 0));
  EXPECT_TRUE(is_live(flow, 5, 0));
}

TEST(ControlFlow, HelpersReadTheirArgumentsAndClobberTheRest) {
  const ControlFlow flow = flow_of({
      move(r4, 0),                     // 0
      call(BPF_FUNC_ktime_get_ns),     // 1
      move(r1, r0),                    // 2
      call(BPF_FUNC_xdp_adjust_head),  // 3: two arguments
      leave(),                         // 4
  });
  EXPECT_FALSE(is_live(flow, 1, 4));
  EXPECT_TRUE(is_live(flow, 2, 2));
  EXPECT_FALSE(is_live(flow, 2, 3));
  EXPECT_FALSE(is_live(flow, 0, 2)) << "no argument survives the first call";
}

TEST(ControlFlow, LoopsAreOfOnePartAndOthersOfNone) {
  const ControlFlow flow = flow_of({
      move(r0, 0),               // 0
      alu(BPF_ADD, r0, 1),       // 1
      jump(BPF_JLT, r0, 9, -2),  // 2
      jump(BPF_JEQ, r0, 9, 1),   // 3
      move(r0, 2),               // 4
      leave(),                   // 5
  });
  EXPECT_EQ(flow.places[0].loop, 0u);
  EXPECT_NE(flow.places[1].loop, 0u);
  EXPECT_EQ(flow.places[1].loop, flow.places[2].loop);
  EXPECT_EQ(flow.places[3].loop, 0u);
  EXPECT_EQ(flow.places[5].loop, 0u);
  EXPECT_TRUE(flow.places[1].jump_target);
  EXPECT_TRUE(flow.places[2].prune_point);
}

TEST(ControlFlow, PostOrderVisitsWhatFollowsFirst) {
  const Instructions code = {jump(BPF_JEQ, r1, 0, 2), move(r0, 0), leave(), move(r0, 1), leave()};
  const ControlFlow flow = flow_of(code);
  const std::vector<uint32_t> order = flow.functions[0].post_order;
  ASSERT_EQ(order.size(), code.size());
  EXPECT_EQ(order.back(), 0u);
  const auto place = [&](uint32_t index) {
    return std::find(order.begin(), order.end(), index) - order.begin();
  };
  EXPECT_LT(place(2), place(1));
  EXPECT_LT(place(4), place(3));
}

TEST(ControlFlow, ChangesOfThePacketReachCallers) {
  bpf_insn to_function = call(1);
  to_function.src_reg = BPF_PSEUDO_CALL;
  const ControlFlow flow =
      flow_of({to_function, leave(), call(BPF_FUNC_xdp_adjust_head), leave(), move(r0, 0), leave()},
              {{0, 2, "main"}, {2, 4, "moves"}, {4, 6, "other"}});
  EXPECT_TRUE(flow.functions[0].changes_packet);
  EXPECT_TRUE(flow.functions[1].changes_packet);
  EXPECT_FALSE(flow.functions[2].changes_packet);
}

}  // namespace
}  // namespace xnic::vm::verifier
