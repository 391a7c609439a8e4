// Opening over libbpf 1.1. Test: tests/vm/loader_test.cpp and tests/vm/objects_test.cpp.
#include "vm/object_file.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "vm/libbpf_words.h"
#include "vm/section.h"

namespace xnic::vm {
namespace {

constexpr unsigned kTrialSeconds = 60;
constexpr std::uintmax_t kLargestObject = 256 * 1024 * 1024;

// Section names that libbpf 1.1 does not know yet. What it does know it knows better: the frags
// flag of XDP is beyond a handler. The names that begin with a row's are set by set_types().
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

void set_types(bpf_object* object) {
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    if (bpf_program__type(program) != BPF_PROG_TYPE_UNSPEC) continue;
    const Section* row = find_section(bpf_program__section_name(program));
    if (row == nullptr) continue;
    bpf_program__set_type(program, row->type);
    bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(row->attach_type));
    if (row->frags) bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS);
  }
}

}  // namespace

void ObjectFile::Close::operator()(bpf_object* object) const { bpf_object__close(object); }

Result<std::vector<uint8_t>> ObjectFile::read(const std::string& path) {
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

Result<ObjectFile> ObjectFile::open(const std::string& path, std::span<const uint8_t> bytes,
                                    const ObjectFileOptions& options) {
  listen_to_libbpf();
  teach_section_names();
  constexpr std::array<uint8_t, 4> kElf = {0x7f, 'E', 'L', 'F'};
  if (bytes.size() < kElf.size() || !std::equal(kElf.begin(), kElf.end(), bytes.begin())) {
    return fail(ExitCode::bad_input,
                "{}: is not an ELF file; compile the program with clang -target bpf -c", path);
  }
  auto translated = translate_legacy_object(bytes);
  if (!translated) {
    return fail(ExitCode::bad_input, "{}: cannot be read: {}", path, translated.error().message);
  }
  ObjectFile opened;
  opened.path_ = path;
  opened.file_ = std::move(translated->file);
  opened.legacy_maps_ = std::move(translated->maps);
  const std::string name = std::filesystem::path(path).stem().string();
  const std::string configuration(options.configuration);
  bpf_object_open_opts libbpf_options{};
  libbpf_options.sz = sizeof libbpf_options;
  libbpf_options.object_name = name.c_str();
  if (!configuration.empty()) libbpf_options.kconfig = configuration.c_str();
  if (!options.btf_path.empty()) libbpf_options.btf_custom_path = options.btf_path.c_str();
  if (!options.btf_path.empty()) {
    // libbpf itself looks into it only where the object has something to relocate.
    btf* types = btf__parse(options.btf_path.c_str(), nullptr);
    if (types == nullptr) {
      return fail(ExitCode::bad_input,
                  "{}: holds no BTF that can be read: {}; give raw BTF or an ELF file with it",
                  options.btf_path, std::strerror(errno));
    }
    btf__free(types);
  }
  opened.object_.reset(
      bpf_object__open_mem(opened.file_.data(), opened.file_.size(), &libbpf_options));
  if (opened.object_ == nullptr) {
    return fail(ExitCode::bad_input, "{}: is not a BPF object that can be read: {}", path,
                first_libbpf_words());
  }
  set_types(opened.object());
  return opened;
}

Result<void> ObjectFile::fill_map_in_maps() const {
  for (const LegacyMap& inner : legacy_maps_) {
    if (inner.inner_idx < 0) continue;
    for (const LegacyMap& outer : legacy_maps_) {
      if (outer.inner_id == 0 || outer.inner_id != inner.id) continue;
      const auto slot = static_cast<uint32_t>(inner.inner_idx);
      const int value = bpf_object__find_map_fd_by_name(object(), inner.name.c_str());
      const int target = bpf_object__find_map_fd_by_name(object(), outer.name.c_str());
      if (bpf_map_update_elem(target, &slot, &value, BPF_ANY) != 0) {
        return fail(ExitCode::bad_input, "{}: map {} cannot be put into slot {} of map {}: {}",
                    path_, inner.name, slot, outer.name, std::strerror(errno));
      }
    }
  }
  return {};
}

std::string shown_map_name(std::string_view name, bool is_internal) {
  const size_t dot = is_internal ? name.find('.') : std::string_view::npos;
  return std::string(dot == std::string_view::npos ? name : name.substr(dot));
}

Result<void> libbpf_survives(const std::string& path, const std::function<void()>& attempt) {
  const pid_t child = fork();
  if (child < 0) return {};
  if (child == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
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
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return fail(ExitCode::bad_input, "{}: is damaged so that libbpf fails on it; compile it again",
              path);
}

}  // namespace xnic::vm
