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
    explicit Run(const std::string& folder) {
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
    Kernel kernel{engine, {.possible_cpus = 2}};
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

}  // namespace
}  // namespace xnic::vm
