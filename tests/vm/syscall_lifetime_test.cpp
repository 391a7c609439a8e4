// Lifetimes: an object is found by its id for as long as something refers to it, and then not any
// more, on both kernels. Linux lets go a little later, so that it is asked until it has.
#include <sys/mman.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "tests/vm/two_sides.h"

namespace xnic::vm {
namespace {

using test::address_of;
using test::Descriptor;
using test::Side;

class Lifetime : public test::TwoKernels {
 protected:
  static uint32_t id_of(Side& side, int fd) {
    std::array<uint32_t, 2> type_and_id{};  // the first fields of map, program and link info
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(fd);
    attr.info.info_len = sizeof type_and_id;
    attr.info.info = address_of(type_and_id.data());
    EXPECT_EQ(side.bpf(BPF_OBJ_GET_INFO_BY_FD, attr), 0);
    return type_and_id[1];
  }
  // 0 if the id still leads to an object, -ENOENT once it does not.
  static long ask(Side& side, uint32_t command, uint32_t id) {
    bpf_attr attr{};
    attr.map_id = id;
    const Descriptor found(side.bpf(command, attr));
    return found.error();
  }
  // As ask(), but gives the kernel a second to let go.
  static long gone(Side& side, uint32_t command, uint32_t id) {
    long answer = 0;
    for (int turn = 0; turn < 100 && answer == 0; turn++) {
      answer = ask(side, command, id);
      if (answer == 0 && side.emulated == nullptr) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
    return answer;
  }
  static void drop(Side& side, int fd) {
    std::erase_if(side.kept, [fd](const Descriptor& d) { return d.fd() == fd; });
  }
  static long put(Side& side, int map, uint32_t key, uint32_t value) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map);
    attr.key = address_of(&key);
    attr.value = address_of(&value);
    return side.bpf(BPF_MAP_UPDATE_ELEM, attr);
  }
};

TEST_F(Lifetime, EndsWithTheLastDescriptor) {
  same("map", [](Side& s) {
    const int map = s.map(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
    const uint32_t id = id_of(s, map);
    const Descriptor second(dup(map));
    drop(s, map);
    const long still = ask(s, BPF_MAP_GET_FD_BY_ID, id);
    { const Descriptor last(std::move(const_cast<Descriptor&>(second))); }
    return still * 1000 + gone(s, BPF_MAP_GET_FD_BY_ID, id);
  });
  same("program", [](Side& s) {
    const int program = s.program(BPF_PROG_TYPE_XDP);
    const uint32_t id = id_of(s, program);
    const long still = ask(s, BPF_PROG_GET_FD_BY_ID, id);
    drop(s, program);
    return still * 1000 + gone(s, BPF_PROG_GET_FD_BY_ID, id);
  });
}

TEST_F(Lifetime, OfAMapLastsAsLongAsAProgramUsesOrIsBoundToIt) {
  for (const bool bound : {false, true}) {
    same(bound ? "bound" : "used", [&](Side& s) {
      const int map = s.map(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
      const uint32_t id = id_of(s, map);
      using namespace test;  // NOLINT: register names
      Instructions code = {move(r0, 2), leave()};
      if (!bound) code = load_map(r1, map) + code;
      const int program = s.keep(s.host.load(BPF_PROG_TYPE_XDP, code));
      if (bound) {
        bpf_attr attr{};
        attr.prog_bind_map.prog_fd = static_cast<uint32_t>(program);
        attr.prog_bind_map.map_fd = static_cast<uint32_t>(map);
        EXPECT_EQ(s.bpf(BPF_PROG_BIND_MAP, attr), 0);
      }
      drop(s, map);
      const long still = ask(s, BPF_MAP_GET_FD_BY_ID, id);
      drop(s, program);
      return still * 1000 + gone(s, BPF_MAP_GET_FD_BY_ID, id);
    });
  }
}

TEST_F(Lifetime, OfAMapLastsAsLongAsItIsMapped) {
  same("mapped", [](Side& s) {
    const int map = s.map(BPF_MAP_TYPE_ARRAY, 4, 4, 1, BPF_F_MMAPABLE);
    const uint32_t id = id_of(s, map);
    void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    EXPECT_NE(memory, MAP_FAILED);
    drop(s, map);
    const long still = ask(s, BPF_MAP_GET_FD_BY_ID, id);
    munmap(memory, 4096);
    return still * 1000 + gone(s, BPF_MAP_GET_FD_BY_ID, id);
  });
}

TEST_F(Lifetime, OfAProgramInASlotEndsWhenUserSpaceLetsTheArrayGo) {
  same("slot", [](Side& s) {
    const int array = s.map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2);
    const int program = s.program(BPF_PROG_TYPE_XDP);
    const uint32_t id = id_of(s, program);
    EXPECT_EQ(put(s, array, 1, static_cast<uint32_t>(program)), 0);
    drop(s, program);
    const long still = ask(s, BPF_PROG_GET_FD_BY_ID, id);
    drop(s, array);
    return still * 1000 + gone(s, BPF_PROG_GET_FD_BY_ID, id);
  });
}

// Asked of the emulated kernel alone: when Linux lets such a ring go is not for a test to wait for.
TEST_F(Lifetime, OfAnArrayAndAProgramThatHoldEachOtherEndsToo) {
  using namespace test;  // NOLINT: register names
  const int array = ours_.map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2);
  const uint32_t id = id_of(ours_, array);
  const int program = ours_.keep(
      emulated_.load(BPF_PROG_TYPE_XDP, load_map(r2, array) + Instructions{move(r0, 2), leave()}));
  EXPECT_EQ(put(ours_, array, 1, static_cast<uint32_t>(program)), 0);
  drop(ours_, program);
  EXPECT_EQ(ask(ours_, BPF_MAP_GET_FD_BY_ID, id), 0);
  drop(ours_, array);
  EXPECT_EQ(ask(ours_, BPF_MAP_GET_FD_BY_ID, id), -ENOENT);
}

TEST_F(Lifetime, OfALinkEndsWithItsDescriptorAndTakesTheProgramOffTheDevice) {
  if (!test::enter_private_network()) {
    GTEST_SKIP() << "This process may not make a network namespace with a device in it.";
  }
  same("link", [](Side& s) {
    const int program = s.program(BPF_PROG_TYPE_XDP);
    const uint32_t program_id = id_of(s, program);
    bpf_attr attr{};
    attr.link_create.prog_fd = static_cast<uint32_t>(program);
    attr.link_create.target_ifindex = 2;
    attr.link_create.attach_type = BPF_XDP;
    const int link = s.keep(Descriptor(s.bpf(BPF_LINK_CREATE, attr)));
    const uint32_t link_id = id_of(s, link);
    drop(s, program);
    const long still = ask(s, BPF_PROG_GET_FD_BY_ID, program_id);
    drop(s, link);
    const long ended = gone(s, BPF_LINK_GET_FD_BY_ID, link_id);
    const int next = s.program(BPF_PROG_TYPE_XDP);
    attr.link_create.prog_fd = static_cast<uint32_t>(next);
    const int again = s.keep(Descriptor(s.bpf(BPF_LINK_CREATE, attr)));
    return still * 1000000 + ended * 1000 + std::min(again, 0);
  });
}

TEST(LifetimeOfIds, ListsOnlyWhatIsAlive) {
  Interpreter engine;
  Kernel kernel(engine);
  test::EmulatedKernel host(kernel);
  const auto count = [&] {
    int maps = 0;
    bpf_attr walk{};
    for (; host.bpf(BPF_MAP_GET_NEXT_ID, walk) == 0; walk.start_id = walk.next_id) maps++;
    return maps;
  };
  const Descriptor first = host.create_map(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
  {
    const Descriptor second = host.create_map(BPF_MAP_TYPE_ARRAY, 4, 4, 1, BPF_F_MMAPABLE);
    EXPECT_EQ(count(), 2);
  }
  EXPECT_EQ(count(), 1);
  const std::shared_ptr<Map> held = kernel.map_by_fd(first.fd());
  close(dup(first.fd()));
  EXPECT_EQ(count(), 1);
}

}  // namespace
}  // namespace xnic::vm
