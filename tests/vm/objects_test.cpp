// Objects as people have them: old map definitions, old and new section names, relocations against
// the kernel's types. Each is compiled here; where an old form has a new one, both must give the
// same, and what the translation gives must load into the real kernel, too.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/support/bpf_host.h"
#include "vm/elf_file.h"
#include "vm/elf_legacy_maps.h"
#include "vm/interpreter.h"
#include "vm/loader.h"
#include "vm/section.h"

namespace xnic::vm {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

Bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Objects : public testing::Test {
 protected:
  Objects() : folder_(fs::temp_directory_path() / fmt::format("xnic-objects-{}", getpid())) {
    fs::create_directories(folder_);
  }
  ~Objects() override { fs::remove_all(folder_); }

  std::string compile(const std::string& source, const std::string& flags = "-g") const {
    const std::string path = folder_ / "object.o";
    std::ofstream(folder_ / "object.c") << kPrologue << source;
    const std::string command = fmt::format(
        "{} -target bpf -mcpu=v3 -O2 {} -I/usr/include/x86_64-linux-gnu -c {} -o {} 2>&1",
        XNIC_CLANG, flags, (folder_ / "object.c").string(), path);
    EXPECT_EQ(std::system(command.c_str()), 0) << source;
    return path;
  }

  std::string write(const Bytes& bytes) const {
    const std::string path = folder_ / "written.o";
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return path;
  }

  std::unique_ptr<Object> load(const std::string& path, const ObjectOptions& options = {}) {
    auto object = Object::load(kernel_, path, options);
    EXPECT_TRUE(object.has_value()) << object.error().message;
    return object ? std::move(*object) : nullptr;
  }

  static std::vector<std::string> names(const Object& object) {
    std::vector<std::string> found;
    for (const LoadedProgram& program : object.programs()) found.push_back(program.name);
    return found;
  }

  static const Map* map(const Object& object, std::string_view name) {
    const auto found = std::ranges::find(object.maps(), name, &LoadedMap::name);
    return found == object.maps().end() ? nullptr : found->map.get();
  }

  // r0 of the object's only program on a frame of zeros.
  static uint32_t run(const Object& object) {
    const std::shared_ptr<const Program> program = object.programs()[0].program;
    Hook hook(HookPoint::xdp_native);
    hook.attach(program);
    Packet packet(Bytes(64));
    Environment environment;
    const HookResult result = hook.run(packet, environment);
    EXPECT_FALSE(result.fault) << hook.faults()[0];
    return result.code;
  }

  static constexpr const char* kPrologue =
      "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
      "#include <bpf/bpf_core_read.h>\n"
      "struct bpf_map_def { unsigned type, key_size, value_size, max_entries, map_flags; };\n"
      "struct long_map_def { unsigned type, key_size, value_size, max_entries, map_flags;\n"
      "  unsigned pinning; char space[256]; };\n"
      "struct short_map_def { unsigned type, key_size, value_size, max_entries; };\n"
      "struct bpf_elf_map { unsigned type, size_key, size_value, max_elem, flags, id, pinning,\n"
      "  inner_id, inner_idx; };\n"
      "char _license[] SEC(\"license\") = \"GPL\";\n";

  fs::path folder_;
  Interpreter engine_;
  Kernel kernel_{engine_};
};

// Both maps are written and read back, so that a mixed-up relocation shows.
constexpr const char* kUseBoth =
    "SEC(\"xdp\") int use_both(struct xdp_md* context) {\n"
    "  __u32 key = 1; __u64 wide = 5;\n"
    "  bpf_map_update_elem(&first, &key, &wide, 0);\n"
    "  wide = 7;\n"
    "  bpf_map_update_elem(&second, &key, &wide, 0);\n"
    "  __u64* a = bpf_map_lookup_elem(&first, &key);\n"
    "  __u64* b = bpf_map_lookup_elem(&second, &key);\n"
    "  return a && b ? *a * 10 + *b : 0;\n"
    "}\n";

std::string two_maps(const std::string& type, const std::string& qualifier = "") {
  return fmt::format(
             "{1} struct {0} first SEC(\"maps\") = {{ 2, 4, 8, 4 }};\n"
             "{1} struct {0} second SEC(\"maps\") = {{ 1, 4, 8, 16 }};\n",
             type, qualifier) +
         kUseBoth;
}

TEST_F(Objects, LoadsLegacyMapsOfEveryLengthWithAndWithoutBtf) {
  for (const char* type : {"bpf_map_def", "long_map_def", "short_map_def", "bpf_elf_map"}) {
    for (const char* flags : {"-g", ""}) {
      SCOPED_TRACE(std::string(type) + " " + flags);
      const auto object = load(compile(two_maps(type), flags));
      ASSERT_NE(object, nullptr);
      const Map* first = map(*object, "first");
      const Map* second = map(*object, "second");
      ASSERT_NE(first, nullptr);
      ASSERT_NE(second, nullptr);
      EXPECT_EQ(first->spec().type, BPF_MAP_TYPE_ARRAY);
      EXPECT_EQ(first->spec().max_entries, 4u);
      EXPECT_EQ(second->spec().type, BPF_MAP_TYPE_HASH);
      EXPECT_EQ(second->spec().value_size, 8u);
      EXPECT_EQ(second->spec().max_entries, 16u);
      EXPECT_EQ(run(*object), 57u);
    }
  }
}

TEST_F(Objects, LoadsStaticLegacyMaps) {
  const auto object = load(compile(two_maps("bpf_map_def", "static")));
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(run(*object), 57u);
}

// Global and static, with a map of the other kind in front, behind, and with initial values.
std::string maps_of_both_kinds(const std::string& qualifier) {
  return fmt::format(
      "struct {{ __uint(type, 12); __uint(max_entries, 2); __uint(key_size, 4);\n"
      "  __array(values, struct {{ __uint(type, 2); __uint(max_entries, 1); __type(key, int);\n"
      "    __type(value, int); }}); }} outer SEC(\".maps\");\n"
      "{0} struct bpf_map_def second SEC(\"maps\") = {{ 1, 4, 8, 16 }};\n"
      "struct {{ __uint(type, 2); __uint(max_entries, 4); __type(key, int);\n"
      "  __type(value, long); }} first SEC(\".maps\");\n"
      "{0} struct bpf_elf_map third SEC(\"maps\") = {{ .type = 2, .size_key = 4,\n"
      "  .size_value = 8, .max_elem = 3 }};\n"
      "SEC(\"xdp\") int use_all(struct xdp_md* context) {{\n"
      "  __u32 key = 2, zero = 0; __u64 wide = 4;\n"
      "  bpf_map_update_elem(&third, &key, &wide, 0);\n"
      "  __u64* c = bpf_map_lookup_elem(&third, &key);\n"
      "  void* inner = bpf_map_lookup_elem(&outer, &zero);\n"
      "  key = 1; wide = 5;\n"
      "  bpf_map_update_elem(&first, &key, &wide, 0);\n"
      "  wide = 7;\n"
      "  bpf_map_update_elem(&second, &key, &wide, 0);\n"
      "  __u64* a = bpf_map_lookup_elem(&first, &key);\n"
      "  __u64* b = bpf_map_lookup_elem(&second, &key);\n"
      "  return a && b && c && !inner ? *a * 100 + *b * 10 + *c : 0;\n"
      "}}\n",
      qualifier);
}

TEST_F(Objects, LoadsMapsOfBothKindsInOneObject) {
  for (const char* qualifier : {"", "static"}) {
    const auto object = load(compile(maps_of_both_kinds(qualifier)));
    ASSERT_NE(object, nullptr);
    ASSERT_NE(map(*object, "second"), nullptr);
    EXPECT_EQ(map(*object, "second")->spec().type, BPF_MAP_TYPE_HASH);
    EXPECT_EQ(map(*object, "first")->spec().max_entries, 4u);
    EXPECT_EQ(run(*object), 574u);
  }
}

TEST_F(Objects, TranslatesLegacyMapsIntoWhatTheRealKernelTakes) {
  XNIC_NEEDS_REAL_KERNEL();
  struct Case {
    std::string source;
    const char* flags;
    uint32_t answer;
  };
  for (const auto& [source, flags, answer] :
       {Case{two_maps("bpf_map_def"), "-g", 57}, Case{two_maps("bpf_map_def"), "", 57},
        Case{maps_of_both_kinds(""), "-g", 574}, Case{maps_of_both_kinds("static"), "-g", 574}}) {
    const auto translated = translate_legacy_object(read_file(compile(source, flags)));
    ASSERT_TRUE(translated.has_value()) << translated.error().message;
    bpf_object* object =
        bpf_object__open_mem(translated->file.data(), translated->file.size(), nullptr);
    ASSERT_NE(object, nullptr);
    EXPECT_EQ(bpf_object__load(object), 0) << flags;
    const int program = bpf_program__fd(bpf_object__next_program(object, nullptr));
    Bytes frame(64);
    bpf_test_run_opts test{};
    test.sz = sizeof test;
    test.data_in = frame.data();
    test.data_size_in = static_cast<uint32_t>(frame.size());
    EXPECT_EQ(bpf_prog_test_run_opts(program, &test), 0);
    EXPECT_EQ(test.retval, answer);
    bpf_object__close(object);
  }
}

TEST_F(Objects, ReadsWhatIproute2SaysOfItsMaps) {
  const auto translated = translate_legacy_object(read_file(compile(
      "struct bpf_elf_map inner SEC(\"maps\") = { .type = 2, .size_key = 4, .size_value = 8,\n"
      "  .max_elem = 3, .id = 42, .inner_idx = 1 };\n"
      "struct bpf_elf_map outer SEC(\"maps\") = { .type = 12, .size_key = 4, .size_value = 4,\n"
      "  .max_elem = 2, .inner_id = 42, .pinning = 2 };\n"
      "SEC(\"xdp\") int f(struct xdp_md* c) { return 2; }\n")));
  ASSERT_TRUE(translated.has_value()) << translated.error().message;
  ASSERT_EQ(translated->maps.size(), 2u);
  EXPECT_EQ(translated->maps[0].id, 42u);
  EXPECT_EQ(translated->maps[0].inner_idx, 1);
  EXPECT_EQ(translated->maps[1].pinning, 2u);
  EXPECT_EQ(translated->maps[1].inner_id, 42u);
  bpf_object* object =
      bpf_object__open_mem(translated->file.data(), translated->file.size(), nullptr);
  ASSERT_NE(object, nullptr);
  const bpf_map* inner = bpf_map__inner_map(bpf_object__find_map_by_name(object, "outer"));
  ASSERT_NE(inner, nullptr);
  EXPECT_EQ(bpf_map__type(inner), BPF_MAP_TYPE_ARRAY);
  EXPECT_EQ(bpf_map__max_entries(inner), 3u);
  bpf_object__close(object);
}

// As compilers other than clang write objects: relocations with addends, and no machine.
TEST_F(Objects, LoadsRelocationsWithAddendsAndNoMachine) {
  auto file = ElfFile::parse(read_file(compile(
      two_maps("bpf_map_def") + "static __noinline int twice(int x) { return x * 2; }\n", "-g")));
  ASSERT_TRUE(file.has_value());
  file->header.e_machine = EM_NONE;
  int converted = 0;
  for (ElfFile::Section& section : file->sections) {
    if (section.name != ".relxdp") continue;
    section.name = ".relaxdp";
    section.header.sh_type = SHT_RELA;
    section.header.sh_entsize = sizeof(Elf64_Rela);
    Bytes entries;
    for (size_t at = 0; at < section.data.size(); at += sizeof(Elf64_Rel)) {
      Elf64_Rela entry{};
      std::memcpy(&entry, section.data.data() + at, sizeof(Elf64_Rel));
      const auto* bytes = reinterpret_cast<const uint8_t*>(&entry);
      entries.insert(entries.end(), bytes, bytes + sizeof entry);
      ++converted;
    }
    section.data = entries;
  }
  ASSERT_EQ(converted, 4);
  const auto object = load(write(file->write()));
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(run(*object), 57u);
}

TEST_F(Objects, RefusesLegacyMapsThatMakeNoSense) {
  auto file = ElfFile::parse(read_file(compile(two_maps("bpf_map_def"))));
  ASSERT_TRUE(file.has_value());
  std::vector<Elf64_Sym> symbols = file->symbols();
  for (Elf64_Sym& symbol : symbols) {
    if (file->symbol_name(symbol) == "second") symbol.st_value = 4000;
  }
  file->set_symbols(symbols);
  const auto object = Object::load(kernel_, write(file->write()));
  ASSERT_FALSE(object.has_value());
  EXPECT_NE(object.error().message.find("map second lies outside"), std::string::npos)
      << object.error().message;
}

TEST_F(Objects, FillsAProgArrayFromItsInitialiser) {
  const auto object = load(
      compile("int leaf(struct xdp_md*);\n"
              "struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 3);\n"
              "  __uint(key_size, 4); __array(values, int(void*)); } jumps SEC(\".maps\") =\n"
              "  { .values = { [2] = (void*)&leaf } };\n"
              "SEC(\"xdp\") int root(struct xdp_md* c) { bpf_tail_call(c, &jumps, 2); return 1; }\n"
              "SEC(\"xdp\") int leaf(struct xdp_md* c) { return 3; }\n"));
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(run(*object), 3u);
}

TEST_F(Objects, ShareLegacyMapsThatAskToBePinned) {
  const auto file = compile(
      "struct bpf_elf_map shared SEC(\"maps\") = { 2, 4, 8, 4, .pinning = 2 };\n"
      "SEC(\"tc\") int f(void* c) { return 0; }\n");
  const auto first = load(file);
  const auto second = load(file);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  ASSERT_EQ(first->maps().size(), 1u);
  EXPECT_EQ(first->maps()[0].map, second->maps()[0].map);
}

struct SectionCase {
  const char* section;
  bpf_prog_type type;
  std::optional<HookPoint> hook;
};
constexpr SectionCase kSectionCases[] = {
    {"xdp", BPF_PROG_TYPE_XDP, HookPoint::xdp_native},
    {"xdp.frags", BPF_PROG_TYPE_XDP, HookPoint::xdp_native},
    {"xdp/devmap", BPF_PROG_TYPE_XDP, {}},
    {"xdp.frags/devmap", BPF_PROG_TYPE_XDP, {}},
    {"xdp/cpumap", BPF_PROG_TYPE_XDP, {}},
    {"xdp.frags/cpumap", BPF_PROG_TYPE_XDP, {}},
    {"xdp_sock", BPF_PROG_TYPE_XDP, HookPoint::xdp_native},
    {"xdp_devmap/egress", BPF_PROG_TYPE_XDP, {}},
    {"tc", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_ingress},
    {"tc/ingress", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_ingress},
    {"tc/egress", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_egress},
    {"tcx/ingress", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_ingress},
    {"tcx/egress", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_egress},
    {"netkit/primary", BPF_PROG_TYPE_SCHED_CLS, {}},
    {"netkit/peer", BPF_PROG_TYPE_SCHED_CLS, {}},
    {"classifier", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_ingress},
    {"classifier/egress", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_egress},
    {"classifier/anything", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_ingress},
    {"action", BPF_PROG_TYPE_SCHED_ACT, {}},
    {"action/mark", BPF_PROG_TYPE_SCHED_ACT, {}},
    {"ingress", BPF_PROG_TYPE_SCHED_CLS, HookPoint::tc_ingress},
};

TEST_F(Objects, TakesTypeAndHookFromEverySectionName) {
  std::string source;
  int number = 0;
  for (const SectionCase& row : kSectionCases) {
    source += fmt::format("SEC(\"{}\") int f{}(void* c) {{ return 0; }}\n", row.section, number++);
  }
  const auto object = load(compile(source));
  ASSERT_NE(object, nullptr);
  ASSERT_EQ(object->programs().size(), std::size(kSectionCases));
  for (const SectionCase& row : kSectionCases) {
    const auto found = std::ranges::find(object->programs(), row.section, &LoadedProgram::section);
    ASSERT_NE(found, object->programs().end()) << row.section;
    EXPECT_EQ(found->program->type(), row.type) << row.section;
    EXPECT_EQ(hook_of_section(found->section), row.hook) << row.section;
    const bool frags = (found->program->spec().flags & BPF_F_XDP_HAS_FRAGS) != 0;
    EXPECT_EQ(frags, std::string_view(row.section).starts_with("xdp.frags")) << row.section;
  }
}

TEST_F(Objects, LeavesOutWhatHasNoPlaceHereAndSaysWhy) {
  const auto object =
      load(compile("SEC(\"xdp\") int good(void* c) { return 2; }\n"
                   "SEC(\"freplace/other\") int replaces(void* c) { return 2; }\n"
                   "SEC(\"kprobe/do_exit\") int traces(void* c) { return 0; }\n"
                   "SEC(\"mystery\") int odd(void* c) { return 0; }\n"));
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(names(*object), std::vector<std::string>{"good"});
  ASSERT_EQ(object->notes().size(), 3u);
  const std::string all = fmt::format("{}", fmt::join(object->notes(), "\n"));
  EXPECT_NE(all.find("replacement of a function"), std::string::npos) << all;
  EXPECT_NE(all.find("of type kprobe"), std::string::npos) << all;
  EXPECT_NE(all.find("mystery"), std::string::npos) << all;
}

TEST_F(Objects, LoadsProgramsWithAQuestionMarkWhenAskedOrWhenThereIsNoOther) {
  const std::string both = compile(
      "SEC(\"xdp\") int always(void* c) { return 2; }\n"
      "SEC(\"?xdp\") int sometimes(void* c) { return 1; }\n");
  EXPECT_EQ(names(*load(both)), std::vector<std::string>{"always"});
  EXPECT_EQ(names(*load(both, {.btf_path = {}, .programs = {"sometimes"}})),
            (std::vector<std::string>{"always", "sometimes"}));
  EXPECT_EQ(names(*load(compile("SEC(\"?xdp\") int alone(void* c) { return 2; }\n"))),
            std::vector<std::string>{"alone"});
}

// Offsets, existence, sizes and enumerators of types that this object lays out otherwise.
constexpr const char* kRelocated =
    "struct iphdr___mine { char odd[99]; __u8 protocol; int none; }\n"
    "  __attribute__((preserve_access_index));\n"
    "struct no_such_type___mine { int x; } __attribute__((preserve_access_index));\n"
    "enum bpf_func_id___mine { BPF_FUNC_map_delete_elem___mine = 99 };\n"
    "extern int CONFIG_HZ __kconfig;\n"
    "extern _Bool CONFIG_NOT_A_THING __kconfig __weak;\n"
    "extern int LINUX_KERNEL_VERSION __kconfig;\n"
    "extern const void init_net __ksym;\n"
    "extern const void no_such_symbol __ksym __weak;\n"
    "int bpf_no_such_kfunc(void*) __ksym __weak;\n"
    "SEC(\"xdp\") int relocated(struct xdp_md* c) {\n"
    "  struct iphdr___mine* ip = 0;\n"
    "  if (__builtin_preserve_field_info(ip->protocol, BPF_FIELD_BYTE_OFFSET) != 9) return 1;\n"
    "  if (!bpf_core_field_exists(ip->protocol)) return 2;\n"
    "  if (bpf_core_field_exists(ip->none)) return 3 + ip->none;\n"
    "  if (bpf_core_type_exists(struct no_such_type___mine)) return 4;\n"
    "  if (bpf_core_type_size(struct iphdr___mine) != 20) return 5;\n"
    "  if (bpf_core_enum_value(enum bpf_func_id___mine, BPF_FUNC_map_delete_elem___mine) != 3)\n"
    "    return 6;\n"
    "  if (CONFIG_HZ != 250 || CONFIG_NOT_A_THING) return 7;\n"
    "  if (LINUX_KERNEL_VERSION != ((6 << 16) + (18 << 8))) return 8;\n"
    "  if (!&init_net) return 9;\n"
    "  if (&no_such_symbol) return 10;\n"
    "  if (bpf_no_such_kfunc) return bpf_no_such_kfunc(c);\n"
    "  return 57;\n"
    "}\n";

TEST_F(Objects, RelocatesAgainstTheTypesOfTheEmulatedKernel) {
  const auto object = load(compile(kRelocated));
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(run(*object), 57u);
}

TEST_F(Objects, RelocatesAgainstTheTypesOfAFile) {
  const std::string types = folder_ / "types.o";
  fs::rename(compile("struct iphdr { char longer[1234]; __u8 protocol; } kept;\n"), types);
  const auto object = load(
      compile("struct iphdr { __u8 protocol; } __attribute__((preserve_access_index));\n"
              "SEC(\"xdp\") int f(struct xdp_md* c) { struct iphdr* ip = 0;\n"
              "  return __builtin_preserve_field_info(ip->protocol, BPF_FIELD_BYTE_OFFSET); }\n"),
      {.btf_path = types, .programs = {}});
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(run(*object), 1234u);
}

TEST_F(Objects, LoadsWhereTheHostsKernelIsHidden) {
  const std::string path = compile(kRelocated);
  constexpr int kNotPermitted = 100;
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      _exit(kNotPermitted);
    }
    for (const char* place : {"/sys/kernel", "/boot", "/sys/fs/bpf"}) {
      if (fs::exists(place) && mount("none", place, "tmpfs", 0, nullptr) != 0) _exit(kNotPermitted);
    }
    for (const char* place : {"/proc/kallsyms", "/proc/config.gz"}) {
      if (fs::exists(place) && mount("/dev/null", place, nullptr, MS_BIND, nullptr) != 0) {
        _exit(kNotPermitted);
      }
    }
    if (fs::exists("/sys/kernel/btf/vmlinux")) _exit(kNotPermitted);
    const auto object = Object::load(kernel_, path);
    if (!object) _exit(1);
    _exit(run(**object) == 57 ? 0 : 2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNotPermitted) {
    GTEST_SKIP() << "This process may not hide the host's files in a mount namespace of its own.";
  }
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: does not load, 2: relocated otherwise";
}

}  // namespace
}  // namespace xnic::vm
