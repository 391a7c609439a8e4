// Links and tcx: the same calls on nic0 of a network namespace of the test's own and on the
// emulated nic0.
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <random>

#include "tests/vm/two_sides.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

using test::address_of;
using test::Descriptor;
using test::Side;

class Links : public test::TwoKernels {
 protected:
  void SetUp() override {
    TwoKernels::SetUp();
    if (!IsSkipped() && !test::enter_private_network()) {
      GTEST_SKIP() << "This process may not make a network namespace with a device in it.";
    }
  }

  static bpf_attr link_request(int program, uint32_t ifindex, uint32_t type, uint32_t flags = 0) {
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program);
    attr.link_create.target_ifindex = ifindex;
    attr.link_create.attach_type = type;
    attr.link_create.flags = flags;
    return attr;
  }
  // The descriptor, kept; or -errno.
  static int link(Side& side, int program, uint32_t ifindex, uint32_t type, uint32_t flags = 0) {
    return side.keep(
        Descriptor(side.bpf(BPF_LINK_CREATE, link_request(program, ifindex, type, flags))));
  }
  static long update(Side& side, int link, int program, int old = 0, uint32_t flags = 0) {
    bpf_attr attr{};
    attr.link_update.link_fd = static_cast<uint32_t>(link);
    attr.link_update.new_prog_fd = static_cast<uint32_t>(program);
    attr.link_update.flags = flags;
    attr.link_update.old_prog_fd = static_cast<uint32_t>(old);
    return side.bpf(BPF_LINK_UPDATE, attr);
  }
  static long detach(Side& side, int link) {
    bpf_attr attr{};
    attr.link_detach.link_fd = static_cast<uint32_t>(link);
    return side.bpf(BPF_LINK_DETACH, attr);
  }
  static bpf_link_info info(Side& side, int link) {
    bpf_link_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(link);
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    EXPECT_EQ(side.bpf(BPF_OBJ_GET_INFO_BY_FD, attr), 0);
    return info;
  }
  static uint32_t program_id(Side& side, int program) {
    bpf_prog_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(program);
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    EXPECT_EQ(side.bpf(BPF_OBJ_GET_INFO_BY_FD, attr), 0);
    return info.id;
  }
};

TEST_F(Links, AttachesXdpWhereAndAsLinuxDoes) {
  for (const uint32_t ifindex : {0u, 1u, 2u, 77u}) {
    for (const uint32_t flags : {0u, 1u, 2u, 4u, 8u, 6u, 16u, 1u << 10}) {
      for (const uint32_t type : {uint32_t{BPF_XDP}, uapi::kTcxIngress, 1000u}) {
        same(fmt::format("ifindex {}, flags {}, type {}", ifindex, flags, type), [&](Side& s) {
          const int program = s.program(BPF_PROG_TYPE_XDP);
          const int made = link(s, program, ifindex, type, flags);
          const long second = link(s, program, ifindex, type, flags) < 0 ? 1 : 0;
          if (made >= 0) detach(s, made);
          return std::min(made, 0) * 10L + second;
        });
      }
    }
  }
  same("a tc program at XDP",
       [](Side& s) { return link(s, s.program(BPF_PROG_TYPE_SCHED_CLS), 2, BPF_XDP); });
  same("no program", [](Side& s) { return link(s, 100000, 2, BPF_XDP); });
  same("a map", [](Side& s) { return link(s, s.map(BPF_MAP_TYPE_ARRAY, 4, 4, 1), 2, BPF_XDP); });
}

TEST_F(Links, RefusesASecondXdpProgramWhileTheFirstIsLinked) {
  same("second", [](Side& s) {
    link(s, s.program(BPF_PROG_TYPE_XDP), 2, BPF_XDP);
    return link(s, s.program(BPF_PROG_TYPE_XDP), 2, BPF_XDP);
  });
  same("the other mode", [](Side& s) {
    return link(s, s.program(BPF_PROG_TYPE_XDP), 2, BPF_XDP, XDP_FLAGS_SKB_MODE);
  });
}

TEST_F(Links, ExchangesTheProgramOfALink) {
  for (const bool tcx : {false, true}) {
    const bpf_prog_type type = tcx ? BPF_PROG_TYPE_SCHED_CLS : BPF_PROG_TYPE_XDP;
    const uint32_t at = tcx ? uapi::kTcxIngress : uint32_t{BPF_XDP};
    for (int step = 0; step < 11; step++) {
      same(fmt::format("tcx {}, step {}", tcx, step), [&](Side& s) {
        const int first = s.program(type, 1);
        const int second = s.program(type, 2);
        const int third = s.program(type, 0);
        const int other = s.program(tcx ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS);
        const int made = link(s, first, 2, at);
        if (made < 0) return static_cast<long>(made);
        const std::function<long()> steps[] = {
            [&] { return update(s, made, second); },
            [&] { return update(s, made, first); },
            [&] { return update(s, made, second, first, BPF_F_REPLACE); },
            [&] { return update(s, made, second, third, BPF_F_REPLACE); },
            [&] { return update(s, made, second, first); },
            [&] { return update(s, made, second, 0, 8); },
            [&] { return update(s, made, other); },
            [&] { return update(s, made, 100000); },
            [&] { return update(s, first, second); },
            [&] { return detach(s, made) * 100 + update(s, made, second); },
            [&] { return update(s, made, second, 100000, BPF_F_REPLACE); },
        };
        const long answer = steps[step]();
        const uint32_t now = info(s, made).prog_id;
        const long which = now == program_id(s, first) ? 1 : now == program_id(s, second) ? 2 : 3;
        detach(s, made);
        return answer * 10 - which;
      });
    }
  }
}

TEST_F(Links, TellsOfALinkWhatLinuxTells) {
  for (const uint32_t at : {uint32_t{BPF_XDP}, uapi::kTcxIngress, uapi::kTcxEgress}) {
    std::array<bpf_link_info, 4> told{};
    size_t turn = 0;
    same(fmt::format("type {}", at), [&](Side& s) {
      const int program = s.program(at == BPF_XDP ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS);
      const int made = link(s, program, 2, at);
      EXPECT_EQ(info(s, made).prog_id, program_id(s, program));
      for (const bool detached : {false, true}) {
        if (detached) detach(s, made);
        told.at(turn) = info(s, made);
        told.at(turn).id = told.at(turn).prog_id = 0;
        turn++;
      }
      return made < 0 ? made : 0;
    });
    EXPECT_EQ(std::memcmp(&told[0], &told[2], sizeof told[0]), 0) << at;
    EXPECT_EQ(std::memcmp(&told[1], &told[3], sizeof told[1]), 0) << at << " detached";
  }
  same("detach a program", [](Side& s) { return detach(s, s.program(BPF_PROG_TYPE_XDP)); });
  same("detach nothing", [](Side& s) { return detach(s, 100000); });
}

// Programs p0..p4 and links are put, moved and taken away at random; after each step both kernels
// must tell the same answer, order, links and revision.
TEST_F(Links, KeepsTheOrderOfTcxProgramsThatLinuxKeeps) {
  constexpr size_t kPrograms = 5;
  struct State {
    std::vector<int> programs;
    std::vector<int> links;  // of the same programs; -1 while there is none
  };
  std::array<State, 2> states;
  for (Side* s : {&ours_, &theirs_}) {
    State& state = states.at(s->emulated != nullptr ? 0 : 1);
    for (size_t i = 0; i < kPrograms; i++) {
      state.programs.push_back(s->program(BPF_PROG_TYPE_SCHED_CLS, static_cast<int>(i)));
    }
    state.links.assign(kPrograms, -1);
  }
  const std::array<uint32_t, 6> orders = {0,
                                          uapi::kBefore,
                                          uapi::kAfter,
                                          BPF_F_REPLACE,
                                          uapi::kBefore | uapi::kAfter,
                                          uapi::kBefore | BPF_F_REPLACE};
  std::mt19937 random(7);
  for (int step = 0; step < 600; step++) {
    const size_t which = random() % kPrograms;
    const size_t beside = random() % kPrograms;
    const uint32_t order = orders.at(random() % (random() % 3 == 0 ? 6 : 3));
    const uint32_t naming = random() % 4;  // nothing, program, program by id, link
    const uint32_t action = random() % 4;
    const uint64_t revision = random() % 8 == 0 ? random() % 6 : 0;
    std::array<std::string, 2> shown;
    same(fmt::format("step {}: action {}, order {}, naming {}", step, action, order, naming),
         [&](Side& s) {
           const size_t side = s.emulated != nullptr ? 0 : 1;
           State& state = states.at(side);
           uint32_t flags = order;
           uint32_t named = 0;
           if (naming == 1) named = static_cast<uint32_t>(state.programs[beside]);
           if (naming == 2) {
             flags |= uapi::kId;
             named = program_id(s, state.programs[beside]);
           }
           if (naming == 3) {
             flags |= uapi::kLink;
             named = static_cast<uint32_t>(std::max(state.links[beside], 0));
           }
           long answer = 0;
           bpf_attr attr{};
           if (action == 0) {
             attr = link_request(state.programs[which], 2, uapi::kTcxEgress, flags);
             uapi::write(attr, uapi::kLinkCreateRelativeFd, named);
             uapi::write(attr, uapi::kLinkCreateRevision, revision);
             const int made = s.keep(Descriptor(s.bpf(BPF_LINK_CREATE, attr)));
             if (made >= 0) state.links[which] = made;
             answer = std::min(made, 0);
           } else if (action == 1 && state.links[which] >= 0) {
             answer = detach(s, state.links[which]);
             state.links[which] = -1;
           } else {
             attr.target_fd = 2;
             attr.attach_bpf_fd = static_cast<uint32_t>(state.programs[which]);
             attr.attach_type = uapi::kTcxEgress;
             attr.attach_flags = flags;
             if ((order & BPF_F_REPLACE) != 0) {
               attr.replace_bpf_fd = static_cast<uint32_t>(state.programs[beside]);
             }
             uapi::write(attr, uapi::kAttachRelativeFd, named);
             uapi::write(attr, uapi::kAttachRevision, revision);
             const bool puts = action == 2;
             if (!puts) attr.replace_bpf_fd = 0;
             if (!puts && step % 3 == 0) attr.attach_bpf_fd = 0;
             answer = s.bpf(puts ? BPF_PROG_ATTACH : BPF_PROG_DETACH, attr);
           }
           std::array<uint32_t, 8> programs{};
           std::array<uint32_t, 8> links{};
           bpf_attr query{};
           query.query.target_fd = 2;
           query.query.attach_type = uapi::kTcxEgress;
           query.query.prog_ids = address_of(programs.data());
           query.query.prog_cnt = step % 5 == 0 ? 2 : 8;
           uapi::write(query, uapi::kQueryLinkIds, address_of(links.data()));
           const long asked = s.host.bpf(BPF_PROG_QUERY, query);
           shown.at(side) = fmt::format("{} {} revision {}:", asked, query.query.prog_cnt,
                                        uapi::read<uint64_t>(query, uapi::kQueryRevision));
           for (size_t i = 0; i < programs.size(); i++) {
             for (size_t p = 0; p < kPrograms; p++) {
               if (programs.at(i) == program_id(s, state.programs[p])) {
                 shown.at(side) += fmt::format(" p{}{}", p, links.at(i) != 0 ? "L" : "");
               }
             }
           }
           return answer;
         });
    ASSERT_EQ(shown[0], shown[1]) << "step " << step;
    ASSERT_FALSE(HasFailure()) << "step " << step << ", now " << shown[0];
  }
}

TEST_F(Links, AnswersOddTcxRequestsAlike) {
  using Change = void (*)(bpf_attr&);
  const Change changes[] = {
      [](bpf_attr&) {},
      [](bpf_attr& a) { a.target_fd = 77; },
      [](bpf_attr& a) { a.attach_type = 1000; },
      [](bpf_attr& a) { a.attach_type = BPF_XDP; },
      [](bpf_attr& a) { a.attach_flags = 1; },
      [](bpf_attr& a) { a.attach_flags = 1u << 20; },
      [](bpf_attr& a) { a.attach_bpf_fd = 100000; },
      [](bpf_attr& a) { a.attach_flags = BPF_F_REPLACE; },
      [](bpf_attr& a) { a.attach_flags = BPF_F_REPLACE, a.replace_bpf_fd = 100000; },
      [](bpf_attr& a) { a.attach_flags = uapi::kId; },
      [](bpf_attr& a) { a.attach_flags = uapi::kLink; },
      [](bpf_attr& a) { a.attach_flags = uapi::kLink | uapi::kId; },
  };
  for (const uint32_t command : {BPF_PROG_ATTACH, BPF_PROG_DETACH}) {
    for (size_t i = 0; i < std::size(changes); i++) {
      same(fmt::format("command {}, change {}", command, i), [&](Side& s) {
        bpf_attr attr{};
        attr.target_fd = 2;
        attr.attach_type = uapi::kTcxIngress;
        attr.attach_bpf_fd = static_cast<uint32_t>(s.program(BPF_PROG_TYPE_SCHED_CLS));
        changes[i](attr);
        return s.bpf(command, attr);
      });
    }
  }
  for (const uint32_t type : {uapi::kTcxIngress, uint32_t{BPF_XDP}, 1000u}) {
    for (const uint32_t flags : {0u, 1u, 2u}) {
      for (const uint32_t ifindex : {1u, 2u, 77u}) {
        same(fmt::format("query {} flags {} ifindex {}", type, flags, ifindex), [&](Side& s) {
          bpf_attr attr{};
          attr.query.target_fd = ifindex;
          attr.query.attach_type = type;
          attr.query.query_flags = flags;
          return s.bpf(BPF_PROG_QUERY, attr);
        });
      }
    }
  }
}

// Counts its runs in a map, then returns `code`.
test::Instructions count_and_return(int counter, int code) {
  using namespace test;
  return Instructions{store(4, r10, -4, 0), test::move(r2, r10), alu(BPF_ADD, r2, -4)} +
         load_map(r1, counter) +
         Instructions{call(BPF_FUNC_map_lookup_elem),
                      jump(BPF_JEQ, r0, 0, 3),
                      load(8, r1, r0, 0),
                      alu(BPF_ADD, r1, 1),
                      store(8, r0, 0, r1),
                      test::move(r0, code),
                      leave()};
}

// Sends one packet over the loopback device; whether it came to the socket.
bool loopback_delivers() {
  const int receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const timeval patience{.tv_sec = 0, .tv_usec = 20'000};
  setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  bind(receiver, reinterpret_cast<const sockaddr*>(&address), length);
  getsockname(receiver, reinterpret_cast<sockaddr*>(&address), &length);
  const int sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  char byte = 'x';
  sendto(sender, &byte, 1, 0, reinterpret_cast<const sockaddr*>(&address), length);
  const bool came = recv(receiver, &byte, 1, 0) == 1;
  close(sender);
  close(receiver);
  return came;
}

// One packet through the hook of the emulated loopback device; whether it passed.
bool hook_passes(Kernel& kernel) {
  Packet packet(test::Bytes(64));
  Environment environment;
  const HookResult result =
      kernel.device(kLoopbackIfindex)->hook(HookPoint::tc_ingress).run(packet, environment);
  return result.action == Action::pass;
}

TEST_F(Links, RunsTcxProgramsInOrderUntilOneDecides) {
  ASSERT_EQ(std::system("ip link set lo up"), 0);
  std::mt19937 random(5);
  for (int round = 0; round < 60; round++) {
    std::array<int, 3> codes{};
    // Half of them lead on, so that rounds end at every place.
    for (int& code : codes)
      code = random() % 2 == 0 ? TC_ACT_UNSPEC : static_cast<int>(random() % 10) - 1;
    const uint32_t first_flags = round % 2 == 0 ? 0 : uapi::kBefore;
    same(fmt::format("codes {} {} {}, flags {}", codes[0], codes[1], codes[2], first_flags),
         [&](Side& s) {
           std::vector<int> counters;
           std::vector<int> links;
           for (const int code : codes) {
             counters.push_back(s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1));
             const int program = s.keep(
                 s.host.load(BPF_PROG_TYPE_SCHED_CLS, count_and_return(counters.back(), code)));
             links.push_back(link(s, program, 1, uapi::kTcxIngress, first_flags));
           }
           long answer = s.emulated == nullptr ? loopback_delivers() : hook_passes(*s.emulated);
           for (const int counter : counters) {
             uint64_t count = 0;
             const uint32_t key = 0;
             bpf_attr attr{};
             attr.map_fd = static_cast<uint32_t>(counter);
             attr.key = address_of(&key);
             attr.value = address_of(&count);
             s.host.bpf(BPF_MAP_LOOKUP_ELEM, attr);
             answer = answer * 10 + static_cast<long>(count);
           }
           for (const int one : links) detach(s, one);
           s.kept.clear();
           return answer;
         });
  }
}

}  // namespace
}  // namespace xnic::vm
