// Loading objects: what is in them is found, everything else ends with one sentence and no crash.
#include "vm/loader.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "vm/interpreter.h"

namespace xnic::vm {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

std::string object_path(const std::string& name) { return XNIC_OBJECTS "/" + name + ".o"; }

Bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Loader : public testing::Test {
 protected:
  Loader() : folder_(fs::temp_directory_path() / fmt::format("xnic-loader-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~Loader() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const Bytes& bytes) const {
    const std::string path = folder_ / name;
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  // The sentence of a load that fails; it names the file.
  Error refused(const std::string& path) {
    auto loaded = Object::load(kernel_, path);
    EXPECT_FALSE(loaded.has_value()) << path;
    if (loaded) return {};
    EXPECT_NE(loaded.error().message.find(path), std::string::npos) << loaded.error().message;
    EXPECT_EQ(loaded.error().message.find('\n'), std::string::npos) << loaded.error().message;
    return loaded.error();
  }

  fs::path folder_;
  Interpreter engine_;
  Kernel kernel_{engine_};
};

TEST_F(Loader, FindsTheProgramsAndMapsOfAnObject) {
  const auto object = Object::load(kernel_, object_path("tail_call"));
  ASSERT_TRUE(object.has_value()) << object.error().message;
  std::vector<std::string> programs;
  for (const LoadedProgram& program : (*object)->programs()) {
    EXPECT_EQ(program.section, "xdp");
    ASSERT_NE(program.program, nullptr);
    EXPECT_EQ(program.program->type(), BPF_PROG_TYPE_XDP);
    programs.push_back(program.name);
  }
  EXPECT_EQ(programs, (std::vector<std::string>{"dispatch", "leaf_drop", "leaf_tx", "chain",
                                                "dispatch_from_function"}));
  std::vector<std::string> maps;
  for (const LoadedMap& map : (*object)->maps()) maps.push_back(map.name);
  EXPECT_EQ(maps, (std::vector<std::string>{"programs", "runs"}));
}

TEST_F(Loader, NamesGlobalDataByItsSection) {
  const auto object = Object::load(kernel_, object_path("global_data"));
  ASSERT_TRUE(object.has_value()) << object.error().message;
  std::vector<std::string> maps;
  for (const LoadedMap& map : (*object)->maps()) maps.push_back(map.name);
  for (const char* section : {".bss", ".data", ".rodata"}) {
    EXPECT_EQ(std::count(maps.begin(), maps.end(), section), 1) << section;
  }
}

TEST_F(Loader, GivesTheChecksumThatSha256sumGives) {
  const std::string path = object_path("tail_call");
  const auto object = Object::load(kernel_, path);
  ASSERT_TRUE(object.has_value());
  FILE* pipe = popen(("sha256sum " + path).c_str(), "r");
  std::array<char, 65> sum{};
  ASSERT_EQ(fread(sum.data(), 1, 64, pipe), 64u);
  pclose(pipe);
  EXPECT_EQ((*object)->sha256(), sum.data());
}

TEST_F(Loader, NamesAMissingFile) {
  EXPECT_EQ(refused(folder_ / "none.o").code, ExitCode::bad_input);
}

TEST_F(Loader, RefusesAFolder) { EXPECT_EQ(refused(folder_).code, ExitCode::bad_input); }

TEST_F(Loader, RefusesAnEmptyFile) {
  EXPECT_EQ(refused(write("empty.o", {})).code, ExitCode::bad_input);
}

TEST_F(Loader, RefusesRandomBytes) {
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    Bytes bytes(static_cast<size_t>(random() % 4000));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    if (i % 2 == 1 && bytes.size() > 4)
      std::copy_n(
          "\x7f"
          "ELF",
          4, bytes.begin());
    EXPECT_EQ(refused(write("random.o", bytes)).code, ExitCode::bad_input);
  }
}

TEST_F(Loader, RefusesEveryTruncationOfAnObject) {
  const Bytes whole = read_file(object_path("map_kinds"));
  ASSERT_GT(whole.size(), 1000u);
  for (size_t cut = 0; cut < whole.size(); cut += whole.size() / 150) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut));
    refused(write("cut.o", part));
  }
}

TEST_F(Loader, SurvivesObjectsWithFlippedBytes) {
  int refusals = 0;
  for (const char* name : {"map_kinds", "subprograms", "global_data"}) {
    const Bytes whole = read_file(object_path(name));
    std::mt19937 random(4);
    for (int i = 0; i < 150; ++i) {
      Bytes damaged = whole;
      for (int flips = 0; flips <= i % 4; ++flips) {
        damaged[random() % (i % 2 == 0 ? damaged.size() : 64)] ^=
            static_cast<uint8_t>(1 + random() % 255);
      }
      const auto loaded = Object::load(kernel_, write("damaged.o", damaged));
      if (!loaded) {
        ++refusals;
        EXPECT_FALSE(loaded.error().message.empty());
      }
    }
  }
  EXPECT_GT(refusals, 50);
}

TEST_F(Loader, RefusesAnObjectWithoutPrograms) {
  // The compiler's own object of nothing but data.
  const std::string path = folder_ / "data.o";
  const std::string command = "echo 'int x = 1;' | " XNIC_CLANG " -target bpf -x c -c - -o " + path;
  ASSERT_EQ(std::system(command.c_str()), 0);
  const Error error = refused(path);
  EXPECT_EQ(error.code, ExitCode::bad_input);
  EXPECT_NE(error.message.find("program"), std::string::npos) << error.message;
}

TEST_F(Loader, NamesASectionThatSaysNoProgramType) {
  const std::string path = folder_ / "odd.o";
  const std::string command =
      "echo '__attribute__((section(\"mystery\"))) int f(void* c) { return 0; }' | " XNIC_CLANG
      " -target bpf -O2 -x c -c - -o " +
      path;
  ASSERT_EQ(std::system(command.c_str()), 0);
  const Error error = refused(path);
  EXPECT_EQ(error.code, ExitCode::bad_input);
  EXPECT_NE(error.message.find("mystery"), std::string::npos) << error.message;
}

// A map that asks to be pinned by name, as xdp-filter's do.
constexpr const char* kPinned =
    "typedef unsigned int u32; struct { int (*type)[2]; u32* key; u32* value; "
    "int (*max_entries)[1]; int (*pinning)[1]; } pinned __attribute__((section(\".maps\"), used)); "
    "__attribute__((section(\"xdp\"))) int f(void* c) { return 2; }";

TEST_F(Loader, SharesAMapThatTwoObjectsPinByName) {
  const std::string path = folder_ / "pinned.o";
  const std::string command = std::string("echo '") + kPinned +
                              "' | " XNIC_CLANG " -target bpf -O2 -g -x c -c - -o " + path;
  ASSERT_EQ(std::system(command.c_str()), 0);
  const auto first = Object::load(kernel_, path);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  const auto second = Object::load(kernel_, path);
  ASSERT_TRUE(second.has_value()) << second.error().message;
  EXPECT_TRUE((*second)->notes().empty());
  ASSERT_EQ((*first)->maps().size(), 1u);
  EXPECT_EQ((*first)->maps()[0].map, (*second)->maps()[0].map);
  EXPECT_FALSE(fs::exists("/sys/fs/bpf/pinned"));
}

TEST_F(Loader, RefusesAPinnedMapOfAnotherShapeByName) {
  const std::string path = folder_ / "pinned.o";
  std::string other = kPinned;
  other.replace(other.find("max_entries)[1]"), 15, "max_entries)[2]");
  for (const std::string& source : {std::string(kPinned), other}) {
    const std::string command =
        "echo '" + source + "' | " XNIC_CLANG " -target bpf -O2 -g -x c -c - -o " + path;
    ASSERT_EQ(std::system(command.c_str()), 0);
    const auto object = Object::load(kernel_, path);
    if (source == kPinned) {
      ASSERT_TRUE(object.has_value()) << object.error().message;
    } else {
      ASSERT_FALSE(object.has_value());
      EXPECT_NE(object.error().message.find("pinned"), std::string::npos) << object.error().message;
      EXPECT_NE(object.error().message.find("mismatch"), std::string::npos)
          << object.error().message;
    }
  }
}

TEST_F(Loader, LoadsTheXdpFilterObjectsWithTheirPins) {
  const fs::path folder = "/usr/lib/x86_64-linux-gnu/bpf";
  int loaded = 0;
  if (!fs::exists(folder)) GTEST_SKIP() << "Debian's xdp-tools is not installed.";
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with("xdpfilt_")) continue;
    const auto object = Object::load(kernel_, entry.path());
    ASSERT_TRUE(object.has_value()) << object.error().message;
    EXPECT_TRUE((*object)->notes().empty()) << (*object)->notes()[0];
    loaded++;
  }
  EXPECT_GE(loaded, 10);
}

// The child sees an empty, read-write folder where bpffs would be.
TEST_F(Loader, WritesNothingWhereBpffsIsHidden) {
  const std::string path = folder_ / "pinned.o";
  const std::string command = std::string("echo '") + kPinned +
                              "' | " XNIC_CLANG " -target bpf -O2 -g -x c -c - -o " + path;
  ASSERT_EQ(std::system(command.c_str()), 0);
  constexpr int kNotPermitted = 100;
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("none", "/sys/fs/bpf", "tmpfs", 0, nullptr) != 0) {
      _exit(kNotPermitted);
    }
    const auto object = Object::load(kernel_, path);
    if (!object) _exit(1);
    _exit(fs::is_empty("/sys/fs/bpf") ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNotPermitted) {
    GTEST_SKIP() << "This process may not hide /sys/fs/bpf in a mount namespace of its own.";
  }
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: does not load, 2: something was written";
}

}  // namespace
}  // namespace xnic::vm
