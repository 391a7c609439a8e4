// Who may read and write a map: descriptors opened for one of the two, frozen maps, and maps that
// programs may only read or only write. Every type, against the running kernel.
#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <map>

#include "tests/vm/map_kinds.h"
#include "tests/vm/two_sides.h"

namespace xnic::test {
namespace {

constexpr uint32_t kEntries = 4;

class MapAccess : public TwoKernels, public testing::WithParamInterface<MapKind> {
 protected:
  void SetUp() override {
    TwoKernels::SetUp();
    // Programs of the emulated kernel run on CPU 0.
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
  }

  static uint32_t value_bytes() { return GetParam().per_cpu ? 8 * real_possible_cpus() : 8; }

  // A map of the type with these flags beside its own; the descriptor or -errno.
  static int create(Side& side, uint32_t flags) {
    bpf_attr attr{};
    attr.map_type = GetParam().type;
    attr.key_size = GetParam().key_size;
    attr.value_size = GetParam().value_size;
    attr.max_entries = GetParam().type == BPF_MAP_TYPE_RINGBUF ? 4096 : kEntries;
    attr.map_flags = GetParam().flags | flags;
    if (GetParam().holds_maps) {
      attr.inner_map_fd = static_cast<uint32_t>(side.map(BPF_MAP_TYPE_ARRAY, 4, 8, 2));
    }
    return side.keep(Descriptor(side.host.bpf(BPF_MAP_CREATE, attr)));
  }

  // A value that the map takes.
  static Bytes good_value(Side& side) {
    Bytes value(value_bytes());
    int32_t word = 5;
    if (GetParam().type == BPF_MAP_TYPE_PROG_ARRAY) word = side.program(BPF_PROG_TYPE_XDP);
    if (GetParam().holds_maps) word = side.map(BPF_MAP_TYPE_ARRAY, 4, 8, 2);
    if (GetParam().type == BPF_MAP_TYPE_XSKMAP) word = -1;
    if (GetParam().type == BPF_MAP_TYPE_DEVMAP || GetParam().type == BPF_MAP_TYPE_DEVMAP_HASH)
      word = 1;
    std::memcpy(value.data(), &word, sizeof word);
    return value;
  }

  // Every command on the elements of a map, one after another: what each answered.
  static std::vector<long> use(Side& side, int map) {
    std::vector<long> answers;
    Bytes value = good_value(side);
    Bytes taken(value.size() * kEntries);
    Bytes keys(size_t{8} * kEntries);
    std::array<uint8_t, 64> position{};
    const bool keyed = GetParam().key_size != 0;
    std::array<uint8_t, 8> key{};
    if (GetParam().type == BPF_MAP_TYPE_LPM_TRIE) key[0] = keys[0] = 32;
    const auto element = [&](uint32_t command, uint8_t* at) {
      bpf_attr attr{};
      attr.map_fd = static_cast<uint32_t>(map);
      attr.key = keyed ? address_of(key.data()) : 0;
      if (at != nullptr) attr.value = address_of(at);
      answers.push_back(side.host.bpf(command, attr));
    };
    const auto batch = [&](uint32_t command, uint32_t count) {
      bpf_attr attr{};
      attr.batch.map_fd = static_cast<uint32_t>(map);
      attr.batch.keys = address_of(keys.data());
      attr.batch.values = address_of(command == BPF_MAP_UPDATE_BATCH ? value.data() : taken.data());
      attr.batch.out_batch = address_of(position.data());
      attr.batch.count = count;
      answers.push_back(side.host.bpf(command, attr));
      answers.push_back(attr.batch.count);
    };
    element(BPF_MAP_UPDATE_ELEM, value.data());
    element(BPF_MAP_LOOKUP_ELEM, taken.data());
    element(BPF_MAP_GET_NEXT_KEY, taken.data());
    batch(BPF_MAP_UPDATE_BATCH, 1);
    batch(BPF_MAP_LOOKUP_BATCH, kEntries);
    batch(BPF_MAP_LOOKUP_AND_DELETE_BATCH, kEntries);
    batch(BPF_MAP_UPDATE_BATCH, 1);
    batch(BPF_MAP_DELETE_BATCH, 1);
    element(BPF_MAP_UPDATE_ELEM, value.data());
    element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, taken.data());
    element(BPF_MAP_DELETE_ELEM, nullptr);
    return answers;
  }

  static long freeze(Side& side, int map) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map);
    return side.host.bpf(BPF_MAP_FREEZE, attr);
  }

  static uint32_t id_of(Side& side, int map) {
    bpf_map_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(map);
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    EXPECT_EQ(side.host.bpf(BPF_OBJ_GET_INFO_BY_FD, attr), 0);
    return info.id;
  }

  // Asks both sides for a list of answers.
  void same_list(const std::string& what, const std::function<std::vector<long>(Side&)>& question) {
    const std::vector<long> theirs = question(theirs_);
    const vm::KernelScope scope(kernel_);
    EXPECT_EQ(question(ours_), theirs) << what << ": xnic first, Linux second";
  }
};

TEST_P(MapAccess, ADescriptorLetsInWhatTheMapWasMadeFor) {
  for (const uint32_t flags : {0u, uint32_t{BPF_F_RDONLY}, uint32_t{BPF_F_WRONLY},
                               uint32_t{BPF_F_RDONLY | BPF_F_WRONLY}}) {
    same_list(fmt::format("flags {}", flags), [&](Side& s) {
      const int map = create(s, flags);
      return map < 0 ? std::vector<long>{map} : use(s, map);
    });
  }
}

TEST_P(MapAccess, ADescriptorByIdLetsInWhatItWasOpenedFor) {
  for (const uint32_t flags : {uint32_t{BPF_F_RDONLY}, uint32_t{BPF_F_WRONLY}}) {
    same_list(fmt::format("open flags {}", flags), [&](Side& s) {
      bpf_attr attr{};
      attr.map_id = id_of(s, create(s, 0));
      attr.open_flags = flags;
      return use(s, s.keep(Descriptor(s.host.bpf(BPF_MAP_GET_FD_BY_ID, attr))));
    });
  }
}

TEST_P(MapAccess, AFrozenMapIsReadOnlyForUserSpaceForGood) {
  for (const uint32_t flags : {0u, uint32_t{BPF_F_RDONLY}, uint32_t{BPF_F_WRONLY}}) {
    same_list(fmt::format("flags {}", flags), [&](Side& s) {
      const int map = create(s, flags);
      if (map < 0) return std::vector<long>{map};
      std::vector<long> answers = {freeze(s, map), freeze(s, map)};
      const std::vector<long> used = use(s, map);
      answers.insert(answers.end(), used.begin(), used.end());
      bpf_attr attr{};
      attr.map_id = id_of(s, map);
      const std::vector<long> anew =
          use(s, s.keep(Descriptor(s.host.bpf(BPF_MAP_GET_FD_BY_ID, attr))));
      answers.insert(answers.end(), anew.begin(), anew.end());
      return answers;
    });
  }
}

// What a program does with the map of its descriptor, with a key of zeros and a value on its stack.
struct Use {
  const char* name;
  Instructions (*code)(int map);
};

Instructions on_map(int map, const Instructions& rest) {
  // Key at -8 (a prefix of 32 bits fits all types), value at -16.
  return Instructions{store(8, r10, -8, 0), store(8, r10, -16, 5)} + load_map(r1, map) +
         Instructions{move(r2, r10), alu(BPF_ADD, r2, -8)} + rest;
}
Instructions then_touch(int map, int32_t helper, const Instructions& touch) {
  return on_map(
      map, Instructions{move(r3, 0), call(helper), jump(BPF_JNE, r0, 0, 2), move(r0, 99), leave()} +
               touch + Instructions{leave()});
}
Instructions with_value_third(int map, int32_t helper) {
  return on_map(map, {move(r3, r10), alu(BPF_ADD, r3, -16), move(r4, 0), call(helper), leave()});
}
Instructions with_value_second(int map, int32_t helper) {
  return on_map(map, {move(r2, r10), alu(BPF_ADD, r2, -16), move(r3, 0), call(helper), leave()});
}

constexpr Use kUses[] = {
    {"read", [](int m) { return then_touch(m, BPF_FUNC_map_lookup_elem, {load(4, r0, r0, 0)}); }},
    {"write",
     [](int m) {
       return then_touch(m, BPF_FUNC_map_lookup_elem, {store(4, r0, 0, 7), move(r0, 3)});
     }},
    {"look", [](int m) { return then_touch(m, BPF_FUNC_map_lookup_elem, {move(r0, 4)}); }},
    {"read_percpu",
     [](int m) { return then_touch(m, BPF_FUNC_map_lookup_percpu_elem, {load(4, r0, r0, 0)}); }},
    {"write_percpu",
     [](int m) {
       return then_touch(m, BPF_FUNC_map_lookup_percpu_elem, {store(4, r0, 0, 7), move(r0, 3)});
     }},
    {"update", [](int m) { return with_value_third(m, BPF_FUNC_map_update_elem); }},
    {"delete",
     [](int m) {
       return on_map(m, {call(BPF_FUNC_map_delete_elem), leave()});
     }},
    {"push", [](int m) { return with_value_second(m, BPF_FUNC_map_push_elem); }},
    {"pop", [](int m) { return with_value_second(m, BPF_FUNC_map_pop_elem); }},
    {"peek", [](int m) { return with_value_second(m, BPF_FUNC_map_peek_elem); }},
};

// What comes out of a lookup is, in these, no value but an object of the kernel: Linux lets
// programs read the fields of an inner map, and refuses to load one that writes to a socket.
bool looks_into_the_kernel(const MapKind& kind, const Use& use) {
  const std::string_view name = use.name;
  return (kind.holds_maps && name.starts_with("read")) ||
         (kind.type == BPF_MAP_TYPE_XSKMAP && name.starts_with("write"));
}

TEST_P(MapAccess, AProgramDoesWhatTheMapLetsProgramsDo) {
  for (const uint32_t flags : {0u, uint32_t{BPF_F_RDONLY_PROG}, uint32_t{BPF_F_WRONLY_PROG},
                               uint32_t{BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG}}) {
    for (const Use& u : kUses) {
      if (looks_into_the_kernel(GetParam(), u)) continue;
      const std::string what = fmt::format("flags {}, {}", flags, u.name);
      // The answer of the run; -EACCES where the program may not be, found out at load (Linux) or
      // at the run (xnic).
      same(what, [&](Side& s) -> long {
        const int map = create(s, flags);
        if (map < 0) return map;
        const Bytes value = good_value(s);
        const std::array<uint8_t, 8> key{};
        bpf_attr attr{};
        attr.map_fd = static_cast<uint32_t>(map);
        if (GetParam().key_size != 0) attr.key = address_of(key.data());
        attr.value = address_of(value.data());
        s.host.bpf(BPF_MAP_UPDATE_ELEM, attr);
        const Descriptor program = s.host.load(BPF_PROG_TYPE_XDP, u.code(map));
        if (program.error() != 0) return -EACCES;
        RunRequest request;
        request.data = Bytes(64);
        const RunAnswer answer = s.host.run(program.fd(), request);
        return answer.error != 0 ? -EACCES : static_cast<long>(answer.code);
      });
    }
  }
}

// A map that user space maps into its memory; the answer of mmap, which is undone at once.
long map_memory(int fd, size_t length, int protection, int flags, off_t offset) {
  void* at = mmap(nullptr, length, protection, flags, fd, offset);
  if (at == MAP_FAILED) return -errno;
  munmap(at, length);
  return 0;
}

TEST_P(MapAccess, MemoryIsMappedWhereLinuxMapsIt) {
  for (const uint32_t flags :
       {0u, uint32_t{BPF_F_MMAPABLE}, uint32_t{BPF_F_MMAPABLE | BPF_F_RDONLY},
        uint32_t{BPF_F_MMAPABLE | BPF_F_RDONLY_PROG}, uint32_t{BPF_F_RDONLY_PROG}}) {
    for (const bool frozen : {false, true}) {
      same_list(fmt::format("flags {}, frozen {}", flags, frozen), [&](Side& s) {
        const int map = create(s, flags);
        if (map < 0) return std::vector<long>{map};
        std::vector<long> answers;
        if (frozen) answers.push_back(freeze(s, map));
        for (const int protection : {PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE}) {
          for (const int sharing : {MAP_SHARED, MAP_PRIVATE}) {
            for (const size_t length : {size_t{1}, size_t{4096}, size_t{8192}, size_t{1} << 20}) {
              answers.push_back(map_memory(map, length, protection, sharing, 0));
              answers.push_back(map_memory(map, length, protection, sharing, 4096));
            }
          }
        }
        return answers;
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryType, MapAccess, testing::ValuesIn(kMapKinds),
                         [](const auto& row) { return std::string(row.param.name); });

class MapMemory : public TwoKernels {};

TEST_F(MapMemory, AMapIsNotFrozenWhileItIsMappedForWriting) {
  for (const int protection : {PROT_READ, PROT_READ | PROT_WRITE}) {
    same(fmt::format("protection {}", protection), [&](Side& s) {
      const int map = s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_MMAPABLE);
      void* at = mmap(nullptr, 4096, protection, MAP_SHARED, map, 0);
      if (at == MAP_FAILED) return -1000L;
      bpf_attr attr{};
      attr.map_fd = static_cast<uint32_t>(map);
      const long mapped = s.host.bpf(BPF_MAP_FREEZE, attr);
      munmap(at, 4096);
      return mapped * 1000 + s.host.bpf(BPF_MAP_FREEZE, attr);
    });
  }
}

}  // namespace
}  // namespace xnic::test
