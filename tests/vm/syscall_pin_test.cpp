// Pins: the same calls on a bpffs of this kernel, in a mount namespace of the test's own, and on
// the emulated one; then what a directory keeps from one run to the next.
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/vm/two_sides.h"
#include "vm/maps/ringbuf.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

namespace fs = std::filesystem;
using test::address_of;
using test::Descriptor;
using test::Side;

class Pins : public test::TwoKernels {
 protected:
  void SetUp() override {
    TwoKernels::SetUp();
    if (!IsSkipped() && !test::enter_private_bpffs()) {
      GTEST_SKIP() << "This process may not mount a bpffs of its own.";
    }
  }

  static long pin(Side& side, int fd, const char* path, uint32_t flags = 0, int path_fd = 0) {
    bpf_attr attr{};
    attr.pathname = address_of(path);
    attr.bpf_fd = static_cast<uint32_t>(fd);
    attr.file_flags = flags;
    uapi::write(attr, uapi::kObjPathFd, path_fd);
    return side.bpf(BPF_OBJ_PIN, attr);
  }
  // The descriptor, kept.
  static int get(Side& side, const char* path, uint32_t flags = 0, int path_fd = 0) {
    bpf_attr attr{};
    attr.pathname = address_of(path);
    attr.file_flags = flags;
    uapi::write(attr, uapi::kObjPathFd, path_fd);
    return side.keep(Descriptor(side.bpf(BPF_OBJ_GET, attr)));
  }
  // 0 in place of a descriptor.
  static long found(Side& side, const char* path, uint32_t flags = 0) {
    return std::min(get(side, path, flags), 0);
  }
  static long element(Side& side, uint32_t command, int map, uint32_t key, uint64_t& value) {
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map);
    attr.key = address_of(&key);
    attr.value = address_of(&value);
    return side.bpf(command, attr);
  }
};

TEST_F(Pins, AnswersPinsAndLookupsOfEveryKindOfPathAlike) {
  const auto map = [](Side& s) { return s.map(BPF_MAP_TYPE_HASH, 4, 8, 4); };
  const std::string long_name = "/sys/fs/bpf/" + std::string(300, 'n');
  const std::string too_long(5000, 'x');
  for (const char* path :
       {"/sys/fs/bpf/one", "/sys/fs/bpf/one", "/sys/fs/bpf/two.dots", "/sys/fs/bpf/.hidden",
        "/sys/fs/bpf/none/below", "/sys/fs/bpf", "/sys/fs/bpf/", "/sys/fs/bpf/./three",
        "/sys/fs/bpf/../bpf/four", "/tmp/xnic-no-bpffs", "/none/at/all", "/dev/null", "",
        too_long.c_str(), "/sys/fs/bpf/one/below"}) {
    const std::string what = std::string("\"").append(path, strnlen(path, 40)) + "\"";
    same("pin " + what, [&](Side& s) { return pin(s, map(s), path); });
    same("get " + what, [&](Side& s) { return found(s, path); });
  }
  EXPECT_FALSE(fs::exists("/tmp/xnic-no-bpffs"));
  same("no path", [&](Side& s) { return pin(s, map(s), nullptr); });
  same("get no path", [&](Side& s) { return found(s, nullptr); });
}

TEST_F(Pins, AnswersOddDescriptorsAndFlagsAlike) {
  for (const int fd : {-1, 1, 100000}) {
    same(fmt::format("descriptor {}", fd), [&](Side& s) { return pin(s, fd, "/sys/fs/bpf/odd"); });
  }
  for (const uint32_t flags : {1u, 8u, 16u, 24u, 1u << 14, 1u << 20}) {
    same(fmt::format("pin, flags {}", flags), [&](Side& s) {
      return pin(s, s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1), "/sys/fs/bpf/flags", flags, AT_FDCWD);
    });
    same(fmt::format("get, flags {}", flags),
         [&](Side& s) { return found(s, "/sys/fs/bpf/flags", flags); });
  }
  same("path_fd without its flag",
       [&](Side& s) { return pin(s, s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1), "/sys/fs/bpf/fd", 0, 5); });
}

TEST_F(Pins, GivesTheSameMapToWhoeverOpensThePin) {
  same("pin", [](Side& s) {
    const int map = s.map(BPF_MAP_TYPE_HASH, 4, 8, 4);
    const long answer = pin(s, map, "/sys/fs/bpf/shared");
    s.kept.clear();  // the pin alone holds the map
    return answer;
  });
  for (uint64_t value : {7ull, 9ull}) {
    same("write", [&](Side& s) {
      const int map = get(s, "/sys/fs/bpf/shared");
      return element(s, BPF_MAP_UPDATE_ELEM, map, 1, value);
    });
    same("read", [&](Side& s) {
      uint64_t read = 0;
      const int map = get(s, "/sys/fs/bpf/shared");
      const long answer = element(s, BPF_MAP_LOOKUP_ELEM, map, 1, read);
      return answer != 0 ? answer : static_cast<long>(read);
    });
  }
  same("unlink", [](Side&) { return Side::libc(unlink("/sys/fs/bpf/shared")); });
  same("gone", [](Side& s) { return found(s, "/sys/fs/bpf/shared"); });
  same("unlink again", [](Side&) { return Side::libc(unlink("/sys/fs/bpf/shared")); });
}

TEST_F(Pins, ObeysTheAccessThatALookupAsksFor) {
  same("pin",
       [](Side& s) { return pin(s, s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1), "/sys/fs/bpf/access"); });
  for (const uint32_t flags : {0u, 8u, 16u}) {
    for (const uint32_t command : {BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM}) {
      same(fmt::format("flags {}, command {}", flags, command), [&](Side& s) {
        uint64_t value = 0;
        const int map = get(s, "/sys/fs/bpf/access", flags);
        return element(s, command, map, 0, value);
      });
    }
  }
  // The flag of the map's maker is for the maker's descriptor.
  same("map made read-only", [](Side& s) {
    const int map = s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY);
    uint64_t value = 0;
    const long direct = element(s, BPF_MAP_UPDATE_ELEM, map, 0, value);
    const long pinned = pin(s, map, "/sys/fs/bpf/made_read_only");
    const int again = get(s, "/sys/fs/bpf/made_read_only");
    return direct * 1000000 + pinned * 1000 + element(s, BPF_MAP_UPDATE_ELEM, again, 0, value);
  });
  same("program",
       [](Side& s) { return pin(s, s.program(BPF_PROG_TYPE_XDP), "/sys/fs/bpf/program"); });
  for (const uint32_t flags : {0u, 8u, 16u}) {
    same("program by path", [&](Side& s) { return found(s, "/sys/fs/bpf/program", flags); });
  }
}

TEST_F(Pins, MakesFoldersAsLinuxDoes) {
  for (const char* path : {"/sys/fs/bpf/folder", "/sys/fs/bpf/folder", "/sys/fs/bpf/folder/below",
                           "/sys/fs/bpf/none/below", "/sys/fs/bpf", "/sys/fs/bpf/dot.ted"}) {
    same(std::string("mkdir ") + path, [&](Side&) { return Side::libc(mkdir(path, 0700)); });
    same(std::string("statfs ") + path, [&](Side&) {
      struct statfs status {};
      const long answer = Side::libc(statfs(path, &status));
      return answer != 0 ? answer : static_cast<long>(status.f_type);
    });
  }
  same("pin below", [](Side& s) {
    return pin(s, s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1), "/sys/fs/bpf/folder/below/map");
  });
  same("get below", [](Side& s) { return found(s, "/sys/fs/bpf/folder/below/map"); });
  same("unlink a folder", [](Side&) { return Side::libc(unlink("/sys/fs/bpf/folder")); });
  same("pin over a folder",
       [](Side& s) { return pin(s, s.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1), "/sys/fs/bpf/folder"); });
}

TEST_F(Pins, LeavesTheHostsBpffsAlone) {
  const KernelScope scope(kernel_);
  EXPECT_EQ(mkdir("/sys/fs/bpf/ours", 0700), 0);
  EXPECT_EQ(pin(ours_, ours_.map(BPF_MAP_TYPE_ARRAY, 4, 8, 1), "/sys/fs/bpf/ours/map"), 0);
  EXPECT_FALSE(fs::exists("/sys/fs/bpf/ours"));
}

// What a directory keeps.
class SavedPins : public testing::Test {
 protected:
  SavedPins() : folder_(fs::temp_directory_path() / fmt::format("xnic-pins-{}", getpid())) {}
  ~SavedPins() override { fs::remove_all(folder_); }

  struct Run {
    explicit Run(const std::string& folder, uint64_t seed = 0)
        : kernel(engine, {.possible_cpus = 2, .seed = seed}) {
      EXPECT_TRUE(kernel.keep_pins_in(folder).has_value());
    }
    long call(uint32_t command, bpf_attr attr) { return host.bpf(command, attr); }
    long pin(int fd, const char* path) {
      bpf_attr attr{};
      attr.pathname = address_of(path);
      attr.bpf_fd = static_cast<uint32_t>(fd);
      return call(BPF_OBJ_PIN, attr);
    }
    Descriptor get(const char* path) {
      bpf_attr attr{};
      attr.pathname = address_of(path);
      return Descriptor(call(BPF_OBJ_GET, attr));
    }
    Interpreter engine;
    Kernel kernel;
    test::EmulatedKernel host{kernel};
  };

  fs::path folder_;
};

TEST_F(SavedPins, BringsEveryTypeOfBytesBackWithItsContents) {
  const std::array types = {BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
                            BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_LPM_TRIE};
  const auto path_of = [](bpf_map_type type) {
    return fmt::format("/sys/fs/bpf/map_{}", static_cast<int>(type));
  };
  const std::array<uint32_t, 2> key = {3, 0};
  std::array<uint8_t, 32> value{};
  for (size_t i = 0; i < value.size(); i++) value.at(i) = static_cast<uint8_t>(i + 1);
  {
    Run run(folder_);
    for (const bpf_map_type type : types) {
      const bool trie = type == BPF_MAP_TYPE_LPM_TRIE;
      const Descriptor map =
          run.host.create_map(type, trie ? 8 : 4, 12, 9, trie ? BPF_F_NO_PREALLOC : 0);
      ASSERT_EQ(map.error(), 0) << type;
      ASSERT_EQ(run.kernel.map_by_fd(map.fd())->user_update(
                    reinterpret_cast<const uint8_t*>(key.data()), value.data(), 0),
                0);
      EXPECT_EQ(run.pin(map.fd(), path_of(type).c_str()), 0);
    }
    EXPECT_TRUE(!fs::exists(folder_ / "map_1")) << "written before save()";
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
  }
  Run run(folder_);
  for (const bpf_map_type type : types) {
    const Descriptor map = run.get(path_of(type).c_str());
    ASSERT_EQ(map.error(), 0) << type;
    const auto live = run.kernel.map_by_fd(map.fd());
    EXPECT_EQ(live->spec().type, type);
    EXPECT_EQ(live->spec().max_entries, 9u);
    std::array<uint8_t, 32> read{};
    ASSERT_EQ(live->user_lookup(reinterpret_cast<const uint8_t*>(key.data()), read.data(), 0), 0);
    const size_t shown = live->spec().value_size;
    EXPECT_TRUE(
        std::equal(value.begin(), value.begin() + static_cast<ptrdiff_t>(shown), read.begin()))
        << type;
  }
  EXPECT_EQ(run.get("/sys/fs/bpf/none").error(), -ENOENT);
}

TEST_F(SavedPins, BringsQueuesAndStacksBackInOrder) {
  for (const bpf_map_type type : {BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK}) {
    std::vector<uint32_t> order;
    {
      Run run(folder_);
      const Descriptor map = run.host.create_map(type, 0, 4, 5);
      const auto live = run.kernel.map_by_fd(map.fd());
      for (uint32_t value = 1; value <= 7; ++value)  // the first two are pushed out
        live->push(reinterpret_cast<const uint8_t*>(&value), BPF_EXIST);
      ASSERT_EQ(run.pin(map.fd(), fmt::format("/sys/fs/bpf/keyless_{}", +type).c_str()), 0);
      ASSERT_TRUE(run.kernel.bpffs.save().has_value());
      uint32_t value = 0;
      while (live->pop(reinterpret_cast<uint8_t*>(&value)) == 0) order.push_back(value);
    }
    ASSERT_EQ(order.size(), 5u);
    Run run(folder_);
    const Descriptor map = run.get(fmt::format("/sys/fs/bpf/keyless_{}", +type).c_str());
    ASSERT_EQ(map.error(), 0);
    const auto live = run.kernel.map_by_fd(map.fd());
    for (const uint32_t expected : order) {
      uint32_t value = 0;
      ASSERT_EQ(live->pop(reinterpret_cast<uint8_t*>(&value)), 0);
      EXPECT_EQ(value, expected);
    }
  }
}

TEST_F(SavedPins, BringsABloomFilterBackThatFindsWhatWasPushed) {
  const auto holds = [](Map& map, uint32_t value) {
    return map.peek(reinterpret_cast<uint8_t*>(&value)) == 0;
  };
  std::vector<bool> before;
  {
    Run run(folder_);
    const Descriptor map = run.host.create_map(BPF_MAP_TYPE_BLOOM_FILTER, 0, 4, 20'000);
    const auto live = run.kernel.map_by_fd(map.fd());
    for (uint32_t value = 0; value < 300; ++value)
      live->push(reinterpret_cast<const uint8_t*>(&value), BPF_ANY);
    ASSERT_EQ(run.pin(map.fd(), "/sys/fs/bpf/bloom"), 0);
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
    for (uint32_t value = 0; value < 5'000; ++value) before.push_back(holds(*live, value));
  }
  // Another seed of hash functions must not make it forget.
  Run run(folder_, 77);
  const Descriptor map = run.get("/sys/fs/bpf/bloom");
  ASSERT_EQ(map.error(), 0);
  const auto live = run.kernel.map_by_fd(map.fd());
  for (uint32_t value = 0; value < before.size(); ++value)
    ASSERT_EQ(holds(*live, value), before[value]) << value;
  EXPECT_TRUE(before[299]);
  EXPECT_FALSE(std::all_of(before.begin(), before.end(), [](bool found) { return found; }));
}

TEST_F(SavedPins, BringsTheUnreadRecordsOfARingBufferBack) {
  const auto bytes_of = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  {
    Run run(folder_);
    const Descriptor map = run.host.create_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
    RingBuffer& ring = *RingBuffer::of(*run.kernel.map_by_fd(map.fd()));
    ASSERT_EQ(ring.output(bytes_of("read"), 0), 0);
    ring.consume([](std::span<const uint8_t>) {});
    ASSERT_EQ(ring.output(bytes_of("one"), 0), 0);
    ring.commit(ring.reserve(100), 0, true);
    ASSERT_EQ(ring.output(bytes_of(""), 0), 0);
    ASSERT_EQ(ring.output(bytes_of("three"), 0), 0);
    ASSERT_EQ(run.pin(map.fd(), "/sys/fs/bpf/ring"), 0);
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
  }
  Run run(folder_);
  const Descriptor map = run.get("/sys/fs/bpf/ring");
  ASSERT_EQ(map.error(), 0);
  std::vector<std::string> records;
  RingBuffer::of(*run.kernel.map_by_fd(map.fd()))->consume([&](std::span<const uint8_t> record) {
    records.emplace_back(record.begin(), record.end());
  });
  EXPECT_EQ(records, (std::vector<std::string>{"one", "", "three"}));
}

TEST_F(SavedPins, BringsInnerMapsBackByIdentity) {
  const auto store = [](Map& map, uint32_t key, const void* value) {
    return map.user_update(reinterpret_cast<const uint8_t*>(&key),
                           static_cast<const uint8_t*>(value), 0);
  };
  for (const bpf_map_type type : {BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS}) {
    const std::string outer_path = fmt::format("/sys/fs/bpf/outer_{}", +type);
    const std::string inner_path = fmt::format("/sys/fs/bpf/inner_{}", +type);
    {
      Run run(folder_);
      const Descriptor pinned = run.host.create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 2);
      const Descriptor unpinned = run.host.create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 2);
      bpf_attr attr{};
      attr.map_type = type;
      attr.key_size = attr.value_size = 4;
      attr.max_entries = 8;
      attr.inner_map_fd = static_cast<uint32_t>(pinned.fd());
      const Descriptor outer(run.call(BPF_MAP_CREATE, attr));
      ASSERT_EQ(outer.error(), 0);
      const uint64_t five = 5, six = 6;
      ASSERT_EQ(store(*run.kernel.map_by_fd(pinned.fd()), 1, &five), 0);
      ASSERT_EQ(store(*run.kernel.map_by_fd(unpinned.fd()), 1, &six), 0);
      const int pinned_fd = pinned.fd(), unpinned_fd = unpinned.fd();
      Map& live = *run.kernel.map_by_fd(outer.fd());
      ASSERT_EQ(store(live, 0, &unpinned_fd), 0);
      ASSERT_EQ(store(live, 3, &pinned_fd), 0);
      ASSERT_EQ(store(live, 5, &unpinned_fd), 0);
      ASSERT_EQ(run.pin(pinned.fd(), inner_path.c_str()), 0);
      ASSERT_EQ(run.pin(outer.fd(), outer_path.c_str()), 0);
      ASSERT_TRUE(run.kernel.bpffs.save().has_value());
    }
    Run run(folder_);
    const Descriptor outer = run.get(outer_path.c_str());
    ASSERT_EQ(outer.error(), 0) << testing::PrintToString(run.kernel.bpffs.notes());
    const Descriptor inner = run.get(inner_path.c_str());
    const auto at = [&](uint32_t key) {
      return run.kernel.map_by_fd(outer.fd())->inner_map(reinterpret_cast<const uint8_t*>(&key));
    };
    ASSERT_NE(at(0), nullptr);
    EXPECT_EQ(at(0), at(5));
    EXPECT_EQ(at(3), run.kernel.map_by_fd(inner.fd()));
    EXPECT_NE(at(0), at(3));
    EXPECT_EQ(at(1), nullptr);
    for (const auto& [key, expected] : {std::pair(0u, 6u), {3u, 5u}}) {
      const uint32_t one = 1;
      uint64_t value = 0;
      ASSERT_EQ(at(key)->user_lookup(reinterpret_cast<const uint8_t*>(&one),
                                     reinterpret_cast<uint8_t*>(&value), 0),
                0);
      EXPECT_EQ(value, expected);
    }
    // Nothing else fits into the map than before.
    const Descriptor other = run.host.create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 3);
    const int other_fd = other.fd();
    EXPECT_EQ(store(*run.kernel.map_by_fd(outer.fd()), 0, &other_fd), -EINVAL);
    // A pin that is gone leaves its slot empty and says so.
    fs::remove(folder_ / fs::path(inner_path).filename());
    Run later(folder_);
    const Descriptor again = later.get(outer_path.c_str());
    ASSERT_EQ(again.error(), 0);
    ASSERT_EQ(later.kernel.bpffs.notes().size(), 1u);
    EXPECT_NE(later.kernel.bpffs.notes()[0].find(inner_path), std::string::npos);
  }
}

TEST_F(SavedPins, KeepsRedirectTargetsButNoPrograms) {
  {
    Run run(folder_);
    for (const bpf_map_type type : {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH}) {
      const Descriptor map = run.host.create_map(type, 4, 8, 4);
      const uint32_t key = 2;
      const bpf_devmap_val value{.ifindex = 2, .bpf_prog = {.fd = -1}};
      ASSERT_EQ(
          run.kernel.map_by_fd(map.fd())->user_update(reinterpret_cast<const uint8_t*>(&key),
                                                      reinterpret_cast<const uint8_t*>(&value), 0),
          0);
      ASSERT_EQ(run.pin(map.fd(), fmt::format("/sys/fs/bpf/dev_{}", +type).c_str()), 0);
    }
    const Descriptor tail_calls = run.host.create_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4);
    const Descriptor program =
        run.host.load(BPF_PROG_TYPE_XDP, {test::move(test::r0, 2), test::leave()});
    const uint32_t key = 1;
    const int fd = program.fd();
    ASSERT_EQ(run.kernel.map_by_fd(tail_calls.fd())
                  ->user_update(reinterpret_cast<const uint8_t*>(&key),
                                reinterpret_cast<const uint8_t*>(&fd), 0),
              0);
    ASSERT_EQ(run.pin(tail_calls.fd(), "/sys/fs/bpf/tail_calls"), 0);
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
  }
  Run run(folder_);
  for (const bpf_map_type type : {BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH}) {
    const Descriptor map = run.get(fmt::format("/sys/fs/bpf/dev_{}", +type).c_str());
    ASSERT_EQ(map.error(), 0) << testing::PrintToString(run.kernel.bpffs.notes());
    const auto entry = run.kernel.map_by_fd(map.fd())->redirect_entry(2);
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->ifindex, 2u);
  }
  const Descriptor tail_calls = run.get("/sys/fs/bpf/tail_calls");
  ASSERT_EQ(tail_calls.error(), 0);
  EXPECT_EQ(run.kernel.map_by_fd(tail_calls.fd())->program_at(1), nullptr);
}

TEST_F(SavedPins, ForgetsAPinThatWasUnlinkedAndKeepsFolders) {
  {
    Run run(folder_);
    const KernelScope scope(run.kernel);
    ASSERT_EQ(mkdir("/sys/fs/bpf/app", 0700), 0);
    const Descriptor map = run.host.create_map(BPF_MAP_TYPE_ARRAY, 4, 4, 1);
    ASSERT_EQ(run.pin(map.fd(), "/sys/fs/bpf/app/kept"), 0);
    ASSERT_EQ(run.pin(map.fd(), "/sys/fs/bpf/app/gone"), 0);
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
  }
  {
    Run run(folder_);
    const KernelScope scope(run.kernel);
    EXPECT_EQ(unlink("/sys/fs/bpf/app/gone"), 0);
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
  }
  Run run(folder_);
  EXPECT_EQ(run.get("/sys/fs/bpf/app/gone").error(), -ENOENT);
  EXPECT_EQ(run.get("/sys/fs/bpf/app/kept").error(), 0);
}

TEST_F(SavedPins, SaysWhichFileIsDamaged) {
  {
    Run run(folder_);
    const Descriptor map = run.host.create_map(BPF_MAP_TYPE_HASH, 4, 4, 1);
    ASSERT_EQ(run.pin(map.fd(), "/sys/fs/bpf/map"), 0);
    ASSERT_TRUE(run.kernel.bpffs.save().has_value());
  }
  const auto size = fs::file_size(folder_ / "map");
  for (uintmax_t cut = 0; cut < size; cut += 7) {
    fs::resize_file(folder_ / "map", size - 1 - cut / 2);
    Run run(folder_);
    if (run.get("/sys/fs/bpf/map").error() == 0) continue;  // only the last newline is gone
    EXPECT_EQ(run.get("/sys/fs/bpf/map").error(), -ENOENT);
    ASSERT_FALSE(run.kernel.bpffs.notes().empty());
    EXPECT_NE(run.kernel.bpffs.notes()[0].find((folder_ / "map").string()), std::string::npos);
  }
  EXPECT_LT(fs::file_size(folder_ / "map"), size / 2 + 8);
}

TEST_F(SavedPins, SaysWhatIsWrongInADamagedFile) {
  constexpr std::string_view kHead = "xnic pinned map 1\nspec ";
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "it begins otherwise"},
      {"xnic pinned map 2\n", "it begins otherwise"},
      {"xnic pinned map 1\nspec 1 4\n", "spec is missing"},
      {"1 4 4 1 0 0 0 0 0\nnone", "the name is missing"},
      {"1 4 4 1 0 0 0 0 0\nname a\n", "its end is missing"},
      {"1 4 4 1 0 0 0 0 0\nname a\nentry 01 02\nend\n", "entry 1 is cut"},
      {"1 4 4 1 0 0 0 0 0\nname a\nentry 0000000g 01020304\nend\n", "entry 1 is cut"},
      {"1 4 4 1 0 0 0 0 0\nname a\nentry 01020304 0102\nend\n", "entry does not fit"},
      {"1 4 4 1 0 0 0 0 0\nname a\nbtf zz\nend\n", "its BTF is cut"},
      {"1 4 4 1 0 0 1 1 0\nname a\nbtf 0102\nend\n", "BTF is damaged"},
      {"1 4 4 1 0 0 0 0 0\nname a\npaint\nend\n", "\"paint\" is unknown"},
      {"1 4 4 1 0 0 0 0 0\nname a\nend\nend\n", "something follows"},
      {"1 4 4 0 0 0 0 0 0\nname a\nend\n", "cannot be made here"},
      {"999 4 4 1 0 0 0 0 0\nname a\nend\n", "no such map type"},
      {"22 0 4 2 0 0 0 0 0\nname a\ncontent 0102\nend\n", "contents do not fit"},
      {"30 0 4 2 0 0 0 0 0\nname a\ncontent 0102\nend\n", "contents do not fit"},
      {"27 0 0 4096 0 0 0 0 0\nname a\ncontent 0g\nend\n", "content 1 is cut"},
      {"12 4 4 2 0 0 0 0 0\nname a\nend\n", "cannot be made here"},
      {"12 4 4 2 0 0 0 0 0\nname a\nlike 2 4\nend\n", "inner maps are like is cut"},
      {"12 4 4 2 0 0 0 0 0\nname a\nlike 2 4 8 1 0 0 0 0 0 -1 -1\nslot 00000000 0\nend\n",
       "slot 1 is cut"},
      {"12 4 4 2 0 0 0 0 0\nname a\nlike 2 4 8 1 0 0 0 0 0 -1 -1\ninner\nspec 2\nend\n",
       "spec is missing"},
  };
  fs::create_directories(folder_);
  for (const auto& [text, telling] : files) {
    const bool whole = text.empty() || text.starts_with("xnic");
    std::ofstream(folder_ / "map") << (whole ? "" : kHead) << text;
    Run run(folder_);
    EXPECT_EQ(run.get("/sys/fs/bpf/map").error(), -ENOENT) << text;
    ASSERT_EQ(run.kernel.bpffs.notes().size(), 1u) << text;
    const std::string& note = run.kernel.bpffs.notes()[0];
    EXPECT_NE(note.find(telling), std::string::npos) << text << ": " << note;
    EXPECT_TRUE(note.starts_with((folder_ / "map").string())) << note;
    EXPECT_EQ(note.find('\n'), std::string::npos) << note;
  }
}

}  // namespace
}  // namespace xnic::vm
