// Loading over libbpf 1.1. Test: tests/vm/loader_test.cpp.
#include "vm/loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "vm/elf_legacy_maps.h"
#include "vm/kernel_face.h"
#include "vm/program_type.h"
#include "vm/section.h"
#include "vm/sha256.h"
#include "vm/syscall.h"

namespace xnic::vm {
namespace {

constexpr unsigned kTrialSeconds = 60;
constexpr uint32_t kPinObject = 1;  // PIN_OBJECT_NS and PIN_GLOBAL_NS of iproute2
constexpr uint32_t kPinGlobal = 2;
constexpr std::uintmax_t kLargestObject = 256 * 1024 * 1024;

// What libbpf said while it worked on this thread.
thread_local std::string libbpf_words;

int collect_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> line{};
  // NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): libbpf's own format
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  if (length > 0) libbpf_words.append(line.data(), std::min<size_t>(length, line.size() - 1));
  return length;
}

// Section names that libbpf 1.1 does not know yet. What it does know it knows better: the frags
// flag of XDP is beyond a handler. The names that begin with a row's are set by prepare().
void teach_section_names() {
  static const bool taught = [] {
    for (const Section& row : sections()) {
      const bool slash = row.name.find('/') != std::string_view::npos;
      if (row.type != BPF_PROG_TYPE_SCHED_CLS || !slash) continue;
      libbpf_register_prog_handler(std::string(row.name).c_str(), row.type,
                                   static_cast<bpf_attach_type>(row.attach_type), nullptr);
    }
    return true;
  }();
  static_cast<void>(taught);
}

// The first line of libbpf's words without its "libbpf: " in front; for the user when nothing
// better is known.
std::string first_words() {
  std::string_view words = libbpf_words;
  words = words.substr(0, words.find('\n'));
  constexpr std::string_view kPrefix = "libbpf: ";
  if (words.starts_with(kPrefix)) words.remove_prefix(kPrefix.size());
  return words.empty() ? "libbpf says nothing more" : std::string(words);
}

// What the verifier wrote, which libbpf frames with these two lines.
std::string verifier_words() {
  constexpr std::string_view kBegin = "-- BEGIN PROG LOAD LOG --\n";
  const size_t begin = libbpf_words.find(kBegin);
  if (begin == std::string::npos) return {};
  const size_t from = begin + kBegin.size();
  const size_t end = libbpf_words.find("-- END PROG LOAD LOG --", from);
  std::string words = libbpf_words.substr(from, end - from);
  while (!words.empty() && words.back() == '\n') words.pop_back();
  return words;
}

// The program that libbpf could not load: "libbpf: prog 'NAME': BPF program load failed: ...".
std::string failed_program() {
  constexpr std::string_view kWhat = "': BPF program load failed";
  const size_t what = libbpf_words.find(kWhat);
  if (what == std::string::npos) return {};
  const size_t quote = libbpf_words.rfind('\'', what - 1);
  return quote == std::string::npos ? "" : libbpf_words.substr(quote + 1, what - quote - 1);
}

Result<std::vector<uint8_t>> read_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return fail(ExitCode::bad_input, "{}: no such file", path);
  }
  if (!std::filesystem::is_regular_file(status)) {
    return fail(ExitCode::bad_input, "{}: is not a regular file; give a BPF object (.o)", path);
  }
  if (std::filesystem::file_size(path, error) > kLargestObject) {
    return fail(ExitCode::bad_input, "{}: is larger than 256 MiB; this is no BPF object", path);
  }
  std::ifstream in(path, std::ios::binary);
  std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in) return fail(ExitCode::bad_input, "{}: cannot be read: {}", path, std::strerror(errno));
  return bytes;
}

// libbpf believes the ELF and BTF that it reads, and damaged ones crash it. So a child process
// makes the attempt first, on its own copy of the kernel.
template <class Attempt>
bool survives(const Attempt& attempt) {
  const pid_t child = fork();
  if (child < 0) return true;
  if (child == 0) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    for (const int crash : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM}) signal(crash, SIG_DFL);
    alarm(kTrialSeconds);
    attempt();
    _exit(0);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

Result<std::unique_ptr<Object>> Object::load(Kernel& kernel, const std::string& path,
                                             const ObjectOptions& load_options) {
  auto file = read_file(path);
  if (!file) return tl::unexpected(file.error());
  std::unique_ptr<Object> object(new Object(kernel, path, load_options));
  const KernelScope scope(kernel);
  libbpf_words.clear();
  libbpf_set_print(collect_words);
  teach_section_names();
  const auto attempt = [&](Object& at) {
    return at.open(*file).and_then([&] { return at.prepare(); }).and_then([&] {
      return at.load_into_kernel();
    });
  };
  if (!survives([&] { static_cast<void>(attempt(*object)); })) {
    return fail(ExitCode::bad_input, "{}: is damaged so that libbpf fails on it; compile it again",
                path);
  }
  libbpf_words.clear();
  auto done = attempt(*object);
  if (!done) return tl::unexpected(done.error());
  return object;
}

Object::~Object() {
  const KernelScope scope(kernel_);
  bpf_object__close(object_);
}

Result<void> Object::open(std::vector<uint8_t> file) {
  file_ = std::move(file);
  for (const uint8_t byte : vm::sha256(file_)) sha256_ += fmt::format("{:02x}", byte);
  constexpr std::array<uint8_t, 4> kElf = {0x7f, 'E', 'L', 'F'};
  if (file_.size() < kElf.size() || !std::equal(kElf.begin(), kElf.end(), file_.begin())) {
    return fail(ExitCode::bad_input,
                "{}: is not an ELF file; compile the program with clang -target bpf -c", path_);
  }
  auto translated = translate_legacy_object(file_);
  if (!translated) {
    return fail(ExitCode::bad_input, "{}: cannot be read: {}", path_, translated.error().message);
  }
  file_ = std::move(translated->file);
  legacy_maps_ = std::move(translated->maps);
  const std::string name = std::filesystem::path(path_).stem().string();
  const std::string configuration(kernel_configuration());
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = name.c_str();
  options.kconfig = configuration.c_str();
  if (!options_.btf_path.empty()) options.btf_custom_path = options_.btf_path.c_str();
  object_ = bpf_object__open_mem(file_.data(), file_.size(), &options);
  if (object_ == nullptr) {
    return fail(ExitCode::bad_input, "{}: is not a BPF object that can be read: {}", path_,
                first_words());
  }
  // Where tc of iproute2 pins: a folder for each object, and one for all.
  for (const LegacyMap& map : legacy_maps_) {
    if (map.pinning != kPinObject && map.pinning != kPinGlobal) continue;
    const std::string place = fmt::format(
        "/sys/fs/bpf/tc/{}/{}", map.pinning == kPinGlobal ? "globals" : sha256_, map.name);
    bpf_map__set_pin_path(bpf_object__find_map_by_name(object_, map.name.c_str()), place.c_str());
    // libbpf makes the last folder of a pin's path alone; it is no matter if this one is there.
    static_cast<void>(kernel_.bpffs.make_directory("/sys/fs/bpf/tc"));
  }
  return {};
}

Result<void> Object::prepare() {
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    const char* name = bpf_map__name(map);
    // libbpf would ask the host for its CPUs.
    if (bpf_map__type(map) == BPF_MAP_TYPE_PERF_EVENT_ARRAY && bpf_map__max_entries(map) == 0) {
      bpf_map__set_max_entries(map, kernel_.options().possible_cpus);
    }
    if (find_map_type(bpf_map__type(map)) == nullptr) {
      const char* type = libbpf_bpf_map_type_str(bpf_map__type(map));
      return fail(ExitCode::program_rejected, "{}: map {} is of type {}, which does not exist here",
                  path_, name, type == nullptr ? "unknown" : type);
    }
  }
  return choose_programs();
}

// Whether a program can be loaded here; leaves a note if not.
bool Object::usable(bpf_program* program) {
  const char* name = bpf_program__name(program);
  const char* section = bpf_program__section_name(program);
  if (bpf_program__type(program) == BPF_PROG_TYPE_UNSPEC) {
    const Section* row = find_section(section);
    if (row == nullptr) {
      notes_.push_back(fmt::format(
          "{}: program {} is left out: its section name \"{}\" does not say a program type", path_,
          name, section));
      return false;
    }
    bpf_program__set_type(program, row->type);
    bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(row->attach_type));
    if (row->frags) bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS);
  }
  const bpf_prog_type type = bpf_program__type(program);
  if (type == BPF_PROG_TYPE_EXT) {
    notes_.push_back(fmt::format(
        "{}: program {} is left out: its section \"{}\" makes it the replacement of a function in "
        "another program, which does not exist here",
        path_, name, section));
    return false;
  }
  if (find_program_type(type) == nullptr) {
    const char* words = libbpf_bpf_prog_type_str(type);
    notes_.push_back(fmt::format(
        "{}: program {} is left out: its section \"{}\" makes it one of type {}, which does not "
        "exist here",
        path_, name, section, words == nullptr ? "unknown" : words));
    return false;
  }
  return true;
}

Result<void> Object::choose_programs() {
  size_t found = 0;
  std::vector<bpf_program*> chosen;
  std::vector<bpf_program*> waiting;  // '?' in front of their section: only when asked for
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object_, program)) != nullptr) {
    found++;
    const bool waits = !bpf_program__autoload(program);
    if (usable(program)) {
      (waits ? waiting : chosen).push_back(program);
    }
    bpf_program__set_autoload(program, false);
  }
  if (found == 0) return fail(ExitCode::bad_input, "{}: holds no BPF program", path_);
  const bool only_waiting = chosen.empty();
  for (bpf_program* one : waiting) {
    const char* name = bpf_program__name(one);
    if (only_waiting || std::ranges::find(options_.programs, name) != options_.programs.end()) {
      chosen.push_back(one);
    } else {
      notes_.push_back(
          fmt::format("{}: program {} is left out: the '?' of its section \"?{}\" has it loaded "
                      "only when it is "
                      "asked for by name",
                      path_, name, bpf_program__section_name(one)));
    }
  }
  if (chosen.empty()) {
    return fail(ExitCode::bad_input,
                "{}: no section name says a program type; name it \"xdp\" or \"tc\" ({})", path_,
                notes_.back());
  }
  for (bpf_program* one : chosen) bpf_program__set_autoload(one, true);
  return {};
}

// iproute2 puts a map into the slots of a map-in-map that its definition names.
Result<void> Object::fill_map_in_maps() {
  for (const LegacyMap& inner : legacy_maps_) {
    if (inner.inner_idx < 0) continue;
    for (const LegacyMap& outer : legacy_maps_) {
      if (outer.inner_id == 0 || outer.inner_id != inner.id) continue;
      const auto slot = static_cast<uint32_t>(inner.inner_idx);
      const int value = bpf_object__find_map_fd_by_name(object_, inner.name.c_str());
      const int target = bpf_object__find_map_fd_by_name(object_, outer.name.c_str());
      if (bpf_map_update_elem(target, &slot, &value, BPF_ANY) != 0) {
        return fail(ExitCode::bad_input, "{}: map {} cannot be put into slot {} of map {}: {}",
                    path_, inner.name, slot, outer.name, std::strerror(errno));
      }
    }
  }
  return {};
}

Result<void> Object::load_into_kernel() {
  libbpf_words.clear();
  if (const int error = bpf_object__load(object_); error != 0) {
    if (const std::string name = failed_program(); !name.empty()) {
      const std::string words = verifier_words();
      return fail(ExitCode::program_rejected, "{}: program {} is rejected: {}", path_, name,
                  words.empty() ? std::strerror(-error) : words);
    }
    return fail(ExitCode::bad_input, "{}: cannot be loaded: {}", path_, first_words());
  }
  if (auto filled = fill_map_in_maps(); !filled) return filled;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object_, program)) != nullptr) {
    if (!bpf_program__autoload(program)) continue;
    programs_.push_back({bpf_program__name(program), bpf_program__section_name(program),
                         kernel_.program_by_fd(bpf_program__fd(program))});
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    auto live = kernel_.map_by_fd(bpf_map__fd(map));
    if (live == nullptr) continue;
    // libbpf prefixes global data with the object's name; the section is what people know.
    const std::string_view whole = bpf_map__name(map);
    const size_t dot = bpf_map__is_internal(map) ? whole.find('.') : std::string_view::npos;
    maps_.push_back({std::string(dot == std::string_view::npos ? whole : whole.substr(dot)), live});
  }
  return {};
}

}  // namespace xnic::vm
