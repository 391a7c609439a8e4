// Maps of maps against the running kernel's.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/vm/two_kernels.h"

namespace xnic::test {
namespace {

struct InnerSpec {
  bpf_map_type type;
  uint32_t key, value, entries, flags;
};

class MapsOfMaps : public testing::TestWithParam<bpf_map_type> {
 protected:
  static Descriptor create_outer(OneKernel& kernel, int inner, uint32_t flags = 0) {
    bpf_attr attr{};
    attr.map_type = GetParam();
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 3;
    attr.map_flags = flags;
    attr.inner_map_fd = static_cast<uint32_t>(inner);
    return Descriptor(kernel->bpf(BPF_MAP_CREATE, attr));
  }
  static Descriptor create(OneKernel& kernel, const InnerSpec& s) {
    return kernel->create_map(s.type, s.key, s.value, s.entries, s.flags);
  }
  static long element(OneKernel& kernel, bpf_cmd command, int map, uint32_t key, int* value,
                      uint64_t flags = 0) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map);
    attr.key = address_of(&key);
    if (value != nullptr) attr.value = address_of(value);
    attr.flags = flags;
    return kernel->bpf(command, attr);
  }
  static uint32_t id_of(OneKernel& kernel, int map) {
    bpf_map_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(map);
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    kernel->bpf(BPF_OBJ_GET_INFO_BY_FD, attr);
    return info.id;
  }
};

TEST_P(MapsOfMaps, TakeTheInnerMapsThatLinuxTakes) {
  XNIC_NEEDS_REAL_KERNEL();
  const InnerSpec specs[] = {{BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0},
                             {BPF_MAP_TYPE_ARRAY, 4, 8, 3, 0},
                             {BPF_MAP_TYPE_ARRAY, 4, 4, 2, 0},
                             {BPF_MAP_TYPE_ARRAY, 4, 8, 2, BPF_F_INNER_MAP},
                             {BPF_MAP_TYPE_ARRAY, 4, 8, 5, BPF_F_INNER_MAP},
                             {BPF_MAP_TYPE_HASH, 4, 8, 2, 0},
                             {BPF_MAP_TYPE_HASH, 4, 8, 9, 0},
                             {BPF_MAP_TYPE_HASH, 8, 8, 2, 0},
                             {BPF_MAP_TYPE_HASH, 4, 8, 2, BPF_F_NO_PREALLOC},
                             {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 2, 0},
                             {BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 3, 0},
                             {BPF_MAP_TYPE_LPM_TRIE, 8, 8, 2, BPF_F_NO_PREALLOC},
                             {BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0},
                             {BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 2, 0},
                             {BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0},
                             {BPF_MAP_TYPE_RINGBUF, 0, 0, 8192, 0}};
  std::vector<std::vector<long>> answers;
  for (const bool real : {false, true}) {
    OneKernel kernel(real);
    std::vector<long> seen;
    std::vector<Descriptor> inner;
    for (const InnerSpec& spec : specs) inner.push_back(create(kernel, spec));
    for (const Descriptor& like : inner) {
      const Descriptor outer = create_outer(kernel, like.fd());
      seen.push_back(outer.error());
      for (const Descriptor& stored : inner) {
        int fd = stored.fd();
        seen.push_back(
            outer.error() != 0 ? 0 : element(kernel, BPF_MAP_UPDATE_ELEM, outer.fd(), 1, &fd));
      }
      seen.push_back(create_outer(kernel, outer.fd()).error());
    }
    seen.push_back(create_outer(kernel, -1).error());
    seen.push_back(create_outer(kernel, STDOUT_FILENO).error());
    for (uint32_t bit = 0; bit < 15; ++bit) {
      seen.push_back(create_outer(kernel, inner[0].fd(), 1u << bit).error());
    }
    answers.push_back(seen);
  }
  EXPECT_EQ(answers[0], answers[1]);
}

TEST_P(MapsOfMaps, AnswerElementCommandsAsLinuxDoes) {
  XNIC_NEEDS_REAL_KERNEL();
  std::vector<std::vector<long>> answers;
  for (const bool real : {false, true}) {
    OneKernel kernel(real);
    std::vector<long> seen;
    const Descriptor one = kernel->create_map(BPF_MAP_TYPE_HASH, 4, 8, 2);
    const Descriptor two = kernel->create_map(BPF_MAP_TYPE_HASH, 4, 8, 2);
    const Descriptor outer = create_outer(kernel, one.fd());
    const auto look = [&](uint32_t key, uint64_t flags = 0) {
      int id = 0;
      seen.push_back(element(kernel, BPF_MAP_LOOKUP_ELEM, outer.fd(), key, &id, flags));
      seen.push_back(id == 0                                           ? 0
                     : id == static_cast<int>(id_of(kernel, one.fd())) ? 1
                     : id == static_cast<int>(id_of(kernel, two.fd())) ? 2
                                                                       : 3);
    };
    for (const uint32_t key : {0u, 2u, 3u, 100u, 101u}) {
      look(key);
      for (const uint64_t flags : {uint64_t{BPF_EXIST}, uint64_t{BPF_ANY}, uint64_t{BPF_NOEXIST},
                                   uint64_t{3}, uint64_t{BPF_F_LOCK}, uint64_t{BPF_EXIST}}) {
        for (int fd : {one.fd(), two.fd(), -1, outer.fd(), STDOUT_FILENO}) {
          seen.push_back(element(kernel, BPF_MAP_UPDATE_ELEM, outer.fd(), key, &fd, flags));
          look(key);
        }
      }
      look(key, BPF_F_LOCK);
      if (key != 2) {
        seen.push_back(element(kernel, BPF_MAP_DELETE_ELEM, outer.fd(), key, nullptr));
        seen.push_back(element(kernel, BPF_MAP_DELETE_ELEM, outer.fd(), key, nullptr));
        look(key);
      }
    }
    answers.push_back(seen);
  }
  EXPECT_EQ(answers[0], answers[1]);
}

// Looks up the inner map for key 1, in it key 0, and gives its value plus one after adding one.
Instructions count_in_inner(int outer) {
  return Instructions{store(4, r10, -4, 1), move(r2, r10), alu(BPF_ADD, r2, -4)} +
         load_map(r1, outer) +
         Instructions{call(BPF_FUNC_map_lookup_elem),
                      jump(BPF_JNE, r0, 0, 2),
                      move(r0, 1000),
                      leave(),
                      move(r1, r0),
                      store(4, r10, -4, 0),
                      move(r2, r10),
                      alu(BPF_ADD, r2, -4),
                      call(BPF_FUNC_map_lookup_elem),
                      jump(BPF_JNE, r0, 0, 2),
                      move(r0, 2000),
                      leave(),
                      load(8, r1, r0, 0),
                      alu(BPF_ADD, r1, 1),
                      store(8, r0, 0, r1),
                      move(r0, r1),
                      leave()};
}

TEST_P(MapsOfMaps, LeadAProgramToTheValuesOfTheInnerMap) {
  XNIC_NEEDS_REAL_KERNEL();
  std::vector<std::vector<uint32_t>> answers;
  for (const bool real : {false, true}) {
    OneKernel kernel(real);
    std::vector<uint32_t> seen;
    const Descriptor one = kernel->create_map(BPF_MAP_TYPE_HASH, 4, 8, 2);
    const Descriptor two = kernel->create_map(BPF_MAP_TYPE_HASH, 4, 8, 2);
    const Descriptor outer = create_outer(kernel, one.fd());
    const Descriptor program = kernel->load(BPF_PROG_TYPE_XDP, count_in_inner(outer.fd()));
    ASSERT_EQ(program.error(), 0);
    const auto run = [&] {
      const RunAnswer answer = kernel->run(program.fd(), on_packet(Bytes(64)));
      ASSERT_EQ(answer.error, 0);
      seen.push_back(answer.code);
    };
    run();
    for (const Descriptor* inner : {&one, &two, &one}) {
      int fd = inner->fd();
      ASSERT_EQ(element(kernel, BPF_MAP_UPDATE_ELEM, outer.fd(), 1, &fd), 0);
      run();
      uint64_t value = seen.size() * 10;
      bpf_attr attr{};
      const uint32_t key = 0;
      attr.map_fd = static_cast<uint32_t>(inner->fd());
      attr.key = address_of(&key);
      attr.value = address_of(&value);
      ASSERT_EQ(kernel->bpf(BPF_MAP_UPDATE_ELEM, attr), 0);
      run();
      run();
    }
    ASSERT_EQ(element(kernel, BPF_MAP_DELETE_ELEM, outer.fd(), 1, nullptr), 0);
    run();
    answers.push_back(seen);
  }
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_EQ(answers[0].front(), 1000u);
}

INSTANTIATE_TEST_SUITE_P(ByIndexAndByKey, MapsOfMaps,
                         testing::Values(BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS));

}  // namespace
}  // namespace xnic::test
