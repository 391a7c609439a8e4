// Programs that bpf(2) attaches to nic0 run in replays as those of the command line do, and replays
// count into the statistics of programs.
#include <gtest/gtest.h>

#include "sim/attachment.h"
#include "sim/untimed.h"
#include "tests/sim/programs.h"
#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/uapi.h"

namespace xnic::sim {
namespace {

using test::address_of;
using test::Descriptor;

class LinkedPrograms : public testing::Test {
 protected:
  Descriptor load(bpf_prog_type type, int code) {
    return host_.load(type, {test::move(test::r0, code), test::leave()});
  }
  Descriptor link(const Descriptor& program, uint32_t attach_type, uint32_t flags = 0) {
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program.fd());
    attr.link_create.target_ifindex = kNic0;
    attr.link_create.attach_type = attach_type;
    attr.link_create.flags = flags;
    return Descriptor(host_.bpf(BPF_LINK_CREATE, attr));
  }
  void detach(const Descriptor& link) {
    bpf_attr attr{};
    attr.link_detach.link_fd = static_cast<uint32_t>(link.fd());
    EXPECT_EQ(host_.bpf(BPF_LINK_DETACH, attr), 0);
  }
  bpf_prog_info info(const Descriptor& program) {
    bpf_prog_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(program.fd());
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    EXPECT_EQ(host_.bpf(BPF_OBJ_GET_INFO_BY_FD, attr), 0);
    return info;
  }
  RunSummary replay() {
    auto attachments = attach_programs(kernel_, {});
    EXPECT_TRUE(attachments.has_value());
    RunOptions chosen = options();
    chosen.counts_runs = kernel_.stats_enabled();
    sink_ = KeepingSink();
    const auto summary = run_untimed(source_of(traffic_), attachments->hooks, chosen, sink_);
    EXPECT_TRUE(summary.has_value());
    return *summary;
  }
  uint64_t long_enough() const {  // for an Ethernet header: the others end in the MAC
    return static_cast<uint64_t>(
        std::ranges::count_if(traffic_, [](const Sent& sent) { return sent.bytes.size() >= 14; }));
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_, {.possible_cpus = 2}};
  test::EmulatedKernel host_{kernel_};
  const std::vector<Sent> traffic_ = random_traffic(300, 0, 11);
  KeepingSink sink_;
};

TEST_F(LinkedPrograms, RunForAsLongAsTheyAreLinked) {
  EXPECT_EQ(replay().delivered, long_enough());
  const Descriptor program = load(BPF_PROG_TYPE_XDP, XDP_DROP);
  for (const uint32_t flags : {0u, 2u /* XDP_FLAGS_SKB_MODE */}) {
    const Descriptor drop = link(program, BPF_XDP, flags);
    ASSERT_EQ(drop.error(), 0);
    EXPECT_EQ(dropped(replay(), DropReason::xdp_drop), long_enough());
    const HookEvent& event = sink_.packets.back().outcome.events.at(0);
    EXPECT_EQ(event.hook, flags == 0 ? vm::HookPoint::xdp_native : vm::HookPoint::xdp_generic);
    detach(drop);
    EXPECT_EQ(replay().delivered, long_enough());
  }
}

TEST_F(LinkedPrograms, OfTcxRunInOrderAndEachIsTold) {
  const Descriptor next = load(BPF_PROG_TYPE_SCHED_CLS, -1);
  const Descriptor shot = load(BPF_PROG_TYPE_SCHED_CLS, 2);
  const Descriptor never = load(BPF_PROG_TYPE_SCHED_CLS, 0);
  const Descriptor first = link(next, vm::uapi::kTcxIngress);
  const Descriptor second = link(shot, vm::uapi::kTcxIngress);
  const Descriptor third = link(never, vm::uapi::kTcxIngress);
  ASSERT_EQ(third.error(), 0);
  EXPECT_EQ(dropped(replay(), DropReason::tc_shot), long_enough());
  const auto& events = sink_.packets.back().outcome.events;
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].program->id, info(next).id);
  EXPECT_EQ(events[1].program->id, info(shot).id);
  detach(second);
  EXPECT_EQ(replay().delivered, long_enough());
}

TEST_F(LinkedPrograms, KeepTheCommandLineFromTheSameXdpHook) {
  const Descriptor pass = link(load(BPF_PROG_TYPE_XDP, XDP_PASS), BPF_XDP);
  ASSERT_EQ(pass.error(), 0);
  AttachRequest request;
  request.object = XNIC_OBJECTS "/events.o";
  EXPECT_FALSE(attach_programs(kernel_, request).has_value());
}

TEST_F(LinkedPrograms, CountTheirRunsWhileSomebodyAsks) {
  const Descriptor program = load(BPF_PROG_TYPE_XDP, XDP_PASS);
  const Descriptor linked = link(program, BPF_XDP);
  replay();
  EXPECT_EQ(info(program).run_cnt, 0u);
  {
    bpf_attr attr{};
    attr.enable_stats.type = BPF_STATS_RUN_TIME;
    const Descriptor statistics(host_.bpf(BPF_ENABLE_STATS, attr));
    ASSERT_EQ(statistics.error(), 0);
    replay();
    EXPECT_EQ(info(program).run_cnt, long_enough());
    EXPECT_GT(info(program).run_time_ns, 0u);
  }
  replay();
  EXPECT_EQ(info(program).run_cnt, long_enough());
}

}  // namespace
}  // namespace xnic::sim
