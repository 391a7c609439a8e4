// Loading over libbpf 1.1. Left out, and told: pinning (there is no bpffs yet). Test:
// tests/vm/loader_test.cpp.
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

#include "vm/program_type.h"
#include "vm/sha256.h"
#include "vm/syscall.h"

namespace xnic::vm {
namespace {

constexpr unsigned kTrialSeconds = 60;
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

// Section names that libbpf 1.1 does not know yet.
void teach_section_names() {
  static const bool taught = [] {
    for (const char* section : {"tc/ingress", "tc/egress", "tcx/ingress", "tcx/egress",
                                "classifier/ingress", "classifier/egress"}) {
      libbpf_register_prog_handler(section, BPF_PROG_TYPE_SCHED_CLS,
                                   static_cast<bpf_attach_type>(0), nullptr);
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

Result<std::unique_ptr<Object>> Object::load(Kernel& kernel, const std::string& path) {
  auto file = read_file(path);
  if (!file) return tl::unexpected(file.error());
  std::unique_ptr<Object> object(new Object(kernel, path));
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
  const std::string name = std::filesystem::path(path_).stem().string();
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = name.c_str();
  object_ = bpf_object__open_mem(file_.data(), file_.size(), &options);
  if (object_ == nullptr) {
    return fail(ExitCode::bad_input, "{}: is not a BPF object that can be read: {}", path_,
                first_words());
  }
  return {};
}

Result<void> Object::prepare() {
  std::vector<std::string> pinned;
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    const char* name = bpf_map__name(map);
    if (const char* pin = bpf_map__pin_path(map); pin != nullptr) {
      pinned.emplace_back(name);
      bpf_map__set_pin_path(map, nullptr);
    }
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
  if (!pinned.empty()) {
    notes_.push_back(
        fmt::format("{}: pins its map{} {} by name; pinning is not modelled, so {} empty", path_,
                    pinned.size() == 1 ? "" : "s", fmt::join(pinned, ", "),
                    pinned.size() == 1 ? "it starts" : "they start"));
  }
  size_t found = 0;
  size_t usable = 0;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object_, program)) != nullptr) {
    found++;
    if (bpf_program__type(program) != BPF_PROG_TYPE_UNSPEC) {
      usable++;
      continue;
    }
    notes_.push_back(fmt::format(
        "{}: program {} is left out: its section name \"{}\" does not say a program type", path_,
        bpf_program__name(program), bpf_program__section_name(program)));
    bpf_program__set_autoload(program, false);
  }
  if (found == 0) return fail(ExitCode::bad_input, "{}: holds no BPF program", path_);
  if (usable == 0) {
    return fail(ExitCode::bad_input,
                "{}: no section name says a program type; name it \"xdp\" or \"tc\" ({})", path_,
                notes_.back());
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
