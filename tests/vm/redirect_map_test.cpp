// Maps that redirects go through: what the hook reads of their entries. What user space sees of
// them, there and in the kernel, is compared in map_kernel_test.cpp.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::vm {
namespace {

using test::EmulatedKernel;

const uint8_t* bytes_of(const auto& object) { return reinterpret_cast<const uint8_t*>(&object); }

class RedirectMaps : public testing::Test {
 protected:
  std::shared_ptr<Map> make(bpf_map_type type, uint32_t value_size, uint32_t entries) {
    MapSpec spec;
    spec.type = type;
    spec.key_size = 4;
    spec.value_size = value_size;
    spec.max_entries = entries;
    const MapType* row = find_map_type(type);
    EXPECT_EQ(row->check(spec), 0);
    return *row->create(spec, MapContext{.possible_cpus = 2, .objects = &kernel_});
  }

  // A program that returns XDP_PASS, to run at a devmap or cpumap.
  test::Descriptor load(uint32_t expected_attach_type) {
    const bpf_insn code[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS},
                             {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_XDP;
    attributes.expected_attach_type = expected_attach_type;
    attributes.insn_cnt = 2;
    attributes.insns = test::address_of(code);
    attributes.license = test::address_of("GPL");
    return test::Descriptor(host_.bpf(BPF_PROG_LOAD, attributes));
  }

  Interpreter interpreter_;
  Kernel kernel_{interpreter_, {.possible_cpus = 2}};
  EmulatedKernel host_{kernel_};
};

TEST_F(RedirectMaps, GiveTheHookInterfaceAndProgramOfADevmapEntry) {
  const test::Descriptor program = load(BPF_XDP_DEVMAP);
  ASSERT_GE(program.fd(), 0);
  for (const auto type : {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH}) {
    const auto map = make(type, 8, 4);
    bpf_devmap_val value{};
    value.ifindex = 1;
    value.bpf_prog.fd = program.fd();
    const uint32_t key = 2, empty = 3;
    ASSERT_EQ(map->user_update(bytes_of(key), bytes_of(value), BPF_ANY), 0);
    const auto entry = map->redirect_entry(key);
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->ifindex, 1u);
    EXPECT_EQ(entry->program, kernel_.program_by_fd(program.fd()));
    EXPECT_FALSE(map->redirect_entry(empty).has_value());
    // A program reads index and program id, and may not write them.
    const uint8_t* seen = map->lookup(bytes_of(key), 0);
    ASSERT_NE(seen, nullptr);
    const uint32_t expected[] = {1, entry->program->id};
    EXPECT_EQ(std::memcmp(seen, expected, 8), 0);
    EXPECT_NE(map->spec().flags & BPF_F_RDONLY_PROG, 0u);
    map->release_programs();
    EXPECT_EQ(map->redirect_entry(key)->program, nullptr);
  }
}

TEST_F(RedirectMaps, GiveTheHookQueueAndProgramOfACpumapEntry) {
  const test::Descriptor program = load(BPF_XDP_CPUMAP);
  ASSERT_GE(program.fd(), 0);
  const auto map = make(BPF_MAP_TYPE_CPUMAP, 8, 8);
  bpf_cpumap_val value{};
  value.qsize = 192;
  value.bpf_prog.fd = program.fd();
  const uint32_t key = 1, absent = 2;
  ASSERT_EQ(map->user_update(bytes_of(key), bytes_of(value), BPF_ANY), 0);
  EXPECT_EQ(map->redirect_entry(key)->queue_size, 192u);
  EXPECT_EQ(map->redirect_entry(key)->program, kernel_.program_by_fd(program.fd()));
  EXPECT_EQ(map->user_update(bytes_of(absent), bytes_of(value), BPF_ANY), -ENODEV);
  value = {};
  ASSERT_EQ(map->user_update(bytes_of(key), bytes_of(value), BPF_ANY), 0);
  EXPECT_FALSE(map->redirect_entry(key).has_value());
}

TEST_F(RedirectMaps, KnowAnAfXdpSocketFromOthers) {
  const int socket_fd = socket(AF_XDP, SOCK_RAW, 0);
  if (socket_fd < 0) GTEST_SKIP() << "This process may not open AF_XDP sockets.";
  const int other_fd = socket(AF_INET, SOCK_DGRAM, 0);
  const auto map = make(BPF_MAP_TYPE_XSKMAP, 4, 4);
  const uint32_t key = 0;
  EXPECT_EQ(map->user_update(bytes_of(key), bytes_of(other_fd), BPF_ANY), -EOPNOTSUPP);
  EXPECT_FALSE(map->redirect_entry(key).has_value());
  ASSERT_EQ(map->user_update(bytes_of(key), bytes_of(socket_fd), BPF_ANY), 0);
  EXPECT_NE(map->redirect_entry(key)->socket, 0u);
  EXPECT_NE(map->lookup(bytes_of(key), 0), nullptr);
  close(socket_fd);
  close(other_fd);
}

}  // namespace
}  // namespace xnic::vm
