// What programs do with maps by helpers, the same programs on the emulated kernel and the real one;
// and which programs a map of programs lets in.
#include <gtest/gtest.h>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

class MapProgram : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  // A program that calls `helper` on the map with a value of 8 bytes on the stack, and returns what
  // it gives, plus the value.
  static Instructions call_with_value(int map, int32_t helper, int32_t value, int32_t flags) {
    return load_map(r1, map) +
           Instructions{store(8, r10, -8, value), move(r2, r10), alu(BPF_ADD, r2, -8),
                        move(r3, flags),          call(helper),  load(8, r1, r10, -8),
                        alu(BPF_ADD, r0, r1),     leave()};
  }

  // Looks key 1 up with `helper` and returns the first byte of the value, 0xbad for null.
  static Instructions look_up(int map, int32_t helper, int32_t cpu) {
    return load_map(r1, map) + Instructions{store(4, r10, -4, 1), move(r2, r10),
                                            alu(BPF_ADD, r2, -4), move(r3, cpu),
                                            call(helper),         jump(BPF_JNE, r0, 0, 2),
                                            move(r0, 0xbad),      leave(),
                                            load(1, r0, r0, 0),   leave()};
  }

  static uint32_t run(BpfHost& host, const Descriptor& program) {
    RunRequest request;
    request.data = Bytes(64);
    const RunAnswer answer = host.run(program.fd(), request);
    EXPECT_EQ(answer.error, 0);
    return answer.code;
  }

  static long update(BpfHost& host, const Descriptor& map, const void* key, const void* value) {
    bpf_attr attributes{};
    attributes.map_fd = static_cast<uint32_t>(map.fd());
    attributes.key = address_of(key);
    attributes.value = address_of(value);
    return host.bpf(BPF_MAP_UPDATE_ELEM, attributes);
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_{interpreter_, {.possible_cpus = real_possible_cpus()}};
  EmulatedKernel ours_{kernel_};
  RealKernel theirs_;
};

TEST_F(MapProgram, PushesPopsAndPeeksAsOnLinux) {
  struct Call {
    int32_t helper;
    int32_t value;
    int32_t flags;
  };
  const Call calls[] = {
      {BPF_FUNC_map_pop_elem, 9, 0},   {BPF_FUNC_map_push_elem, 3, 0},
      {BPF_FUNC_map_push_elem, 4, 0},  {BPF_FUNC_map_push_elem, 5, 0},
      {BPF_FUNC_map_push_elem, 6, 2},  {BPF_FUNC_map_push_elem, 7, 1},
      {BPF_FUNC_map_peek_elem, 9, 0},  {BPF_FUNC_map_pop_elem, 9, 0},
      {BPF_FUNC_map_peek_elem, 4, 0},  {BPF_FUNC_map_pop_elem, 9, 0},
      {BPF_FUNC_map_peek_elem, 77, 0},
  };
  for (const bpf_map_type type :
       {BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK, BPF_MAP_TYPE_BLOOM_FILTER}) {
    const Descriptor mine = ours_.create_map(type, 0, 8, 2);
    const Descriptor other = theirs_.create_map(type, 0, 8, 2);
    ASSERT_GE(mine.fd(), 0);
    ASSERT_GE(other.fd(), 0);
    for (const Call& step : calls) {
      // The verifier lets no program pop from a bloom filter.
      if (type == BPF_MAP_TYPE_BLOOM_FILTER && step.helper == BPF_FUNC_map_pop_elem) continue;
      const auto code = [&](int map) {
        return call_with_value(map, step.helper, step.value, step.flags);
      };
      const Descriptor here = ours_.load(BPF_PROG_TYPE_XDP, code(mine.fd()));
      const Descriptor there = theirs_.load(BPF_PROG_TYPE_XDP, code(other.fd()));
      ASSERT_GE(here.fd(), 0);
      ASSERT_GE(there.fd(), 0);
      EXPECT_EQ(run(ours_, here), run(theirs_, there))
          << "map type " << type << " helper " << step.helper << " value " << step.value;
    }
  }
}

TEST_F(MapProgram, ReadsTheValueOfAnotherCpuAsOnLinux) {
  for (const bpf_map_type type :
       {BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH}) {
    const Descriptor mine = ours_.create_map(type, 4, 8, 4);
    const Descriptor other = theirs_.create_map(type, 4, 8, 4);
    const auto cpus = static_cast<int32_t>(real_possible_cpus());
    Bytes values;
    for (int32_t cpu = 0; cpu < cpus; ++cpu)
      values.insert(values.end(), 8, static_cast<uint8_t>(cpu + 1));
    const uint32_t key = 1;
    ASSERT_EQ(update(ours_, mine, &key, values.data()), 0);
    ASSERT_EQ(update(theirs_, other, &key, values.data()), 0);
    for (const int32_t cpu : {0, cpus - 1, cpus, -1}) {
      const int32_t helper = BPF_FUNC_map_lookup_percpu_elem;
      const Descriptor here = ours_.load(BPF_PROG_TYPE_XDP, look_up(mine.fd(), helper, cpu));
      const Descriptor there = theirs_.load(BPF_PROG_TYPE_XDP, look_up(other.fd(), helper, cpu));
      ASSERT_GE(there.fd(), 0);
      EXPECT_EQ(run(ours_, here), run(theirs_, there)) << "map type " << type << " cpu " << cpu;
    }
  }
}

TEST_F(MapProgram, ReadsADevmapEntryAsOnLinux) {
  for (const bpf_map_type type : {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH}) {
    const Descriptor mine = ours_.create_map(type, 4, 4, 4);
    const Descriptor other = theirs_.create_map(type, 4, 4, 4);
    const uint32_t key = 1, loopback = 1;
    const int32_t helper = BPF_FUNC_map_lookup_elem;
    const Descriptor here = ours_.load(BPF_PROG_TYPE_XDP, look_up(mine.fd(), helper, 0));
    const Descriptor there = theirs_.load(BPF_PROG_TYPE_XDP, look_up(other.fd(), helper, 0));
    EXPECT_EQ(run(ours_, here), run(theirs_, there));
    ASSERT_EQ(update(ours_, mine, &key, &loopback), update(theirs_, other, &key, &loopback));
    EXPECT_EQ(run(ours_, here), run(theirs_, there));
    EXPECT_EQ(run(ours_, here), 1u);
  }
}

// A program that only names the map.
Instructions name_map(int map) { return load_map(r1, map) + Instructions{move(r0, 2), leave()}; }

TEST_F(MapProgram, FixesWhoMayUseAMapOfProgramsWhenTheFirstOneIsLoaded) {
  struct Load {
    bpf_prog_type type;
    uint32_t flags;
  };
  constexpr uint32_t kFragments = 1u << 5;  // BPF_F_XDP_HAS_FRAGS
  constexpr Load kLoads[] = {{BPF_PROG_TYPE_XDP, 0},
                             {BPF_PROG_TYPE_XDP, kFragments},
                             {BPF_PROG_TYPE_SCHED_CLS, 0},
                             {BPF_PROG_TYPE_XDP, 0}};
  for (const bpf_map_type type :
       {BPF_MAP_TYPE_PROG_ARRAY, BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_MAP_TYPE_CPUMAP,
        BPF_MAP_TYPE_XSKMAP, BPF_MAP_TYPE_HASH}) {
    for (size_t first = 0; first < std::size(kLoads); ++first) {
      const Descriptor mine = ours_.create_map(type, 4, 4, 2);
      const Descriptor other = theirs_.create_map(type, 4, 4, 2);
      for (size_t i = 0; i < std::size(kLoads); ++i) {
        const Load& load = kLoads[(first + i) % std::size(kLoads)];
        EXPECT_EQ(ours_.load(load.type, name_map(mine.fd()), load.flags).error(),
                  theirs_.load(load.type, name_map(other.fd()), load.flags).error())
            << "map type " << type << ", program type " << load.type << " flags " << load.flags
            << " as number " << i;
      }
    }
  }
}

}  // namespace
}  // namespace xnic::test
