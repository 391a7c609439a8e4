// What is told of a program, and the ways to run it that are more than one packet: info,
// statistics, live frames, checksums; held against the running kernel.
#include <array>
#include <cstring>
#include <numeric>

#include "tests/vm/two_sides.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

using test::address_of;
using test::Descriptor;
using test::Side;

class Programs : public test::TwoKernels {
 protected:
  static long info(Side& side, int program, bpf_prog_info& info) {
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(program);
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    return side.bpf(BPF_OBJ_GET_INFO_BY_FD, attr);
  }
  static long run(Side& side, int program, const std::function<void(bpf_attr&)>& change,
                  uint32_t size = 100) {
    test::Bytes data(size);
    std::iota(data.begin(), data.end(), uint8_t{0});
    bpf_attr attr{};
    attr.test.prog_fd = static_cast<uint32_t>(program);
    attr.test.data_in = address_of(data.data());
    attr.test.data_size_in = size;
    change(attr);
    return side.bpf(BPF_PROG_TEST_RUN, attr);
  }
};

TEST_F(Programs, TellTheNumbersThatLinuxTells) {
  std::array<bpf_prog_info, 2> told{};
  std::array<std::array<uint32_t, 2>, 2> maps{};
  for (const bool bind : {false, true}) {
    same("info", [&](Side& s) {
      using namespace test;  // NOLINT: register names
      const size_t side = s.emulated != nullptr ? 0 : 1;
      const int map = s.map(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
      const int program = s.keep(
          s.host.load(BPF_PROG_TYPE_XDP, load_map(r1, map) + Instructions{move(r0, 2), leave()}));
      if (bind) {
        for (const int bound : {map, s.map(BPF_MAP_TYPE_HASH, 4, 4, 1)}) {
          bpf_attr attr{};
          attr.prog_bind_map.prog_fd = static_cast<uint32_t>(program);
          attr.prog_bind_map.map_fd = static_cast<uint32_t>(bound);
          EXPECT_EQ(s.bpf(BPF_PROG_BIND_MAP, attr), 0);
        }
      }
      bpf_prog_info& i = told.at(side);
      i = {};
      maps.at(side) = {};
      i.nr_map_ids = 2;
      i.map_ids = address_of(maps.at(side).data());
      return info(s, program, i);
    });
    const auto& [ours, theirs] = told;
    EXPECT_EQ(ours.type, theirs.type);
    EXPECT_EQ(ours.created_by_uid, theirs.created_by_uid);
    EXPECT_EQ(ours.gpl_compatible, theirs.gpl_compatible);
    EXPECT_EQ(ours.nr_map_ids, theirs.nr_map_ids) << bind;
    EXPECT_EQ(ours.nr_map_ids, bind ? 2u : 1u);
    EXPECT_EQ(ours.xlated_prog_len, theirs.xlated_prog_len);
    EXPECT_EQ(ours.verified_insns, theirs.verified_insns);
    EXPECT_EQ(ours.nr_func_info, theirs.nr_func_info);
    EXPECT_EQ(ours.nr_line_info, theirs.nr_line_info);
    EXPECT_EQ(ours.func_info_rec_size, theirs.func_info_rec_size);
    EXPECT_EQ(ours.line_info_rec_size, theirs.line_info_rec_size);
    EXPECT_EQ(ours.jited_line_info_rec_size, theirs.jited_line_info_rec_size);
    EXPECT_EQ(ours.nr_jited_ksyms, theirs.nr_jited_ksyms);
    EXPECT_EQ(ours.nr_jited_func_lens, theirs.nr_jited_func_lens);
    EXPECT_EQ(ours.nr_prog_tags, theirs.nr_prog_tags);
    EXPECT_EQ(ours.run_cnt, theirs.run_cnt);
  }
}

TEST_F(Programs, AnswerOddInfoRequestsAlike) {
  using Change = void (*)(bpf_prog_info&);
  const Change changes[] = {
      [](bpf_prog_info&) {},
      [](bpf_prog_info& i) { i.func_info_rec_size = 4; },
      [](bpf_prog_info& i) { i.func_info_rec_size = 8; },
      [](bpf_prog_info& i) { i.nr_func_info = 1; },
      [](bpf_prog_info& i) { i.line_info_rec_size = 16; },
      [](bpf_prog_info& i) { i.line_info_rec_size = 8; },
      [](bpf_prog_info& i) { i.jited_line_info_rec_size = 4; },
      [](bpf_prog_info& i) { i.xlated_prog_len = 8; },
      [](bpf_prog_info& i) { i.nr_map_ids = 1; },
      [](bpf_prog_info& i) { i.nr_prog_tags = 1; },
  };
  for (size_t n = 0; n < std::size(changes); n++) {
    same(fmt::format("change {}", n), [&](Side& s) {
      bpf_prog_info i{};
      changes[n](i);
      return info(s, s.program(BPF_PROG_TYPE_XDP), i);
    });
  }
}

TEST_F(Programs, CountTheirRunsWhileStatisticsAreAskedFor) {
  for (const uint32_t type : {0u, 1u, 77u}) {
    same(fmt::format("type {}", type), [&](Side& s) {
      const int program = s.program(BPF_PROG_TYPE_XDP);
      bpf_attr attr{};
      attr.enable_stats.type = type;
      const auto repeat = [](bpf_attr& a) { a.test.repeat = 10; };
      run(s, program, repeat);
      {
        const Descriptor enabled(s.bpf(BPF_ENABLE_STATS, attr));
        if (enabled.error() != 0) return enabled.error();
        run(s, program, repeat);
      }
      run(s, program, repeat);
      bpf_prog_info i{};
      info(s, program, i);
      EXPECT_GT(i.run_time_ns, 0u);
      return static_cast<long>(i.run_cnt);
    });
  }
}

TEST_F(Programs, TakeLiveFramesAsLinuxDoes) {
  const auto live = [](bpf_attr& a) { a.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES; };
  for (const uint32_t batch : {0u, 1u, 64u, 256u, 257u}) {
    same(fmt::format("batch {}", batch), [&](Side& s) {
      return run(s, s.program(BPF_PROG_TYPE_XDP, 1), [&](bpf_attr& a) {
        live(a);
        a.test.batch_size = batch;
        a.test.repeat = 1000;
      });
    });
  }
  for (uint32_t size = 3380; size <= 3540; size++) {
    same(fmt::format("{} bytes", size),
         [&](Side& s) { return run(s, s.program(BPF_PROG_TYPE_XDP, 1), live, size); });
  }
  for (const uint32_t size : {13u, 14u}) {
    same(fmt::format("{} bytes", size),
         [&](Side& s) { return run(s, s.program(BPF_PROG_TYPE_XDP, 1), live, size); });
  }
  for (const uint32_t metadata : {0u, 4u, 32u}) {
    for (const bool wants_context : {false, true}) {
      for (const uint32_t size : {100u, 3408u, 3410u, 3440u, 3441u}) {
        same(fmt::format("metadata {}, {} bytes", metadata, size), [&](Side& s) {
          xdp_md context{};
          context.data = metadata;
          context.data_end = size;
          xdp_md room{};
          return run(
              s, s.program(BPF_PROG_TYPE_XDP, 1),
              [&](bpf_attr& a) {
                live(a);
                a.test.ctx_in = address_of(&context);
                a.test.ctx_size_in = sizeof context;
                if (!wants_context) return;
                a.test.ctx_out = address_of(&room);
                a.test.ctx_size_out = sizeof room;
              },
              size);
        });
      }
    }
  }
  const uint64_t before = kernel_.live_frames.frames;
  run(ours_, ours_.program(BPF_PROG_TYPE_XDP, 1), [&](bpf_attr& a) {
    live(a);
    a.test.repeat = 300;
  });
  EXPECT_EQ(kernel_.live_frames.frames, before + 300);
  EXPECT_EQ(kernel_.live_frames.verdicts.size(), 1u);
  EXPECT_EQ(kernel_.live_frames.verdicts["XDP_DROP"], before + 300);
}

TEST_F(Programs, AnswerChecksumRequestsAlike) {
  using namespace test;  // NOLINT: register names
  // Writes one byte behind the Ethernet header, or in it, into the packet.
  const auto writer = [](int16_t offset, int32_t value) {
    return Instructions{
        load(4, r2, r1, 76),      load(4, r3, r1, 80),         move(r4, r2), alu(BPF_ADD, r4, 64),
        jump(BPF_JGT, r4, r3, 1), store(1, r2, offset, value), move(r0, 0),  leave()};
  };
  for (const uint32_t flags : {0u, uapi::kChecksumComplete, 1u, 2u}) {
    for (const auto& [offset, value] :
         {std::pair<int16_t, int32_t>{20, 77}, {20, 20}, {3, 77}, {21, 0}}) {
      same(fmt::format("flags {}, byte {} becomes {}", flags, offset, value), [&](Side& s) {
        const int program = s.keep(s.host.load(BPF_PROG_TYPE_SCHED_CLS, writer(offset, value)));
        if (program < 0) return static_cast<long>(program);
        return run(s, program, [&](bpf_attr& a) { a.test.flags = flags; });
      });
    }
  }
}

TEST_F(Programs, AnswerQuestionsAboutDescriptorsAlike) {
  const auto pid = static_cast<uint32_t>(getpid());
  for (const uint32_t process : {0u, pid, 0x7ffffff0u}) {
    for (const uint32_t flags : {0u, 1u}) {
      for (const bool open : {false, true}) {
        same(fmt::format("process {}, flags {}, open {}", process == pid, flags, open),
             [&](Side& s) {
               bpf_attr attr{};
               attr.task_fd_query.pid = process;
               attr.task_fd_query.flags = flags;
               attr.task_fd_query.fd =
                   open ? static_cast<uint32_t>(s.program(BPF_PROG_TYPE_XDP)) : 100000;
               return s.bpf(BPF_TASK_FD_QUERY, attr);
             });
      }
    }
  }
}

}  // namespace
}  // namespace xnic::vm
