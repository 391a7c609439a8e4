// bpf(2) alike on two kernels, for comparing them. Left out: programs other than XDP and tc, which
// are listed instead; live frames of BPF_PROG_TEST_RUN.
// Test: tests/sim/comparison_test.cpp and tests/differential.
#include "sim/kernel_side.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "vm/loader.h"
#include "vm/syscall.h"

namespace xnic::sim {
namespace {

constexpr uint8_t kUntouched = 0xa5;
// The kernel may move the end of a frame by this much.
constexpr size_t kGrowth = 0x1200;
constexpr size_t kComparedBehind = 16;

thread_local std::string libbpf_words;

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> line{};
  // NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): libbpf's own format
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  std::string_view words = line.data();
  constexpr std::string_view kPrefix = "libbpf: ";
  if (words.starts_with(kPrefix)) words.remove_prefix(kPrefix.size());
  // Said of every object where the limit of locked memory is low, whatever fails.
  if (!words.starts_with("Failed to bump RLIMIT_MEMLOCK")) libbpf_words += words;
  return length;
}

// The last lines of what libbpf and the verifier said, where the reason is.
std::string last_words() {
  constexpr size_t kShown = 1500;
  std::string words = libbpf_words;
  while (words.ends_with('\n')) words.pop_back();
  if (words.size() <= kShown) return words;
  const size_t line = words.find('\n', words.size() - kShown);
  return line == std::string::npos ? words.substr(words.size() - kShown) : words.substr(line + 1);
}

bool is_per_cpu(bpf_map_type type) {
  return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
         type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

bool holds_ids(bpf_map_type type) {
  return type == BPF_MAP_TYPE_PROG_ARRAY || type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
         type == BPF_MAP_TYPE_HASH_OF_MAPS || type == BPF_MAP_TYPE_XSKMAP;
}

bool can_be_listed(bpf_map_type type) {
  switch (type) {
    case BPF_MAP_TYPE_QUEUE:
    case BPF_MAP_TYPE_STACK:
    case BPF_MAP_TYPE_RINGBUF:
    case BPF_MAP_TYPE_BLOOM_FILTER:
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
      return false;
    default:
      return true;
  }
}

std::string map_name(const bpf_map* map) {
  const std::string whole = bpf_map__name(map);
  const size_t dot = bpf_map__is_internal(map) ? whole.find('.') : std::string::npos;
  return dot == std::string::npos ? whole : whole.substr(dot);
}

uint64_t address_of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

Result<std::unique_ptr<KernelSide>> KernelSide::emulated(const std::string& path,
                                                         vm::Engine& engine, uint64_t seed,
                                                         const vm::Network& network) {
  // The loader knows what crashes libbpf and says in better words what is no object. What it
  // rejects may be a program that is left out here.
  const vm::KernelOptions options{
      .possible_cpus = real_possible_cpus(), .seed = seed, .network = network};
  vm::Kernel scratch(engine, options);
  const auto whole = vm::Object::load(scratch, path);
  if (!whole && whole.error().code == ExitCode::bad_input) return tl::unexpected(whole.error());
  std::unique_ptr<KernelSide> side(new KernelSide);
  side->kernel_.emplace(engine, options);
  if (auto loaded = side->load(path); !loaded) {
    if (whole) return tl::unexpected(loaded.error());
    return fail(ExitCode::program_rejected, "rejected by xnic: {}", whole.error().message);
  }
  return side;
}

Result<std::unique_ptr<KernelSide>> KernelSide::real(const std::string& path) {
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    return fail(ExitCode::not_available, "{}", why);
  }
  std::unique_ptr<KernelSide> side(new KernelSide);
  if (auto loaded = side->load(path); !loaded) return tl::unexpected(loaded.error());
  return side;
}

KernelSide::~KernelSide() {
  std::optional<vm::KernelScope> scope;
  if (kernel_) scope.emplace(*kernel_);
  bpf_object__close(object_);
}

Result<void> KernelSide::load(const std::string& path) {
  std::optional<vm::KernelScope> scope;
  if (kernel_) scope.emplace(*kernel_);
  libbpf_words.clear();
  libbpf_set_print(keep_words);
  const std::string object_name = std::filesystem::path(path).stem().string();
  bpf_object_open_opts options{};
  options.sz = sizeof options;
  options.object_name = object_name.c_str();
  std::ifstream in(path, std::ios::binary);
  file_.assign(std::istreambuf_iterator<char>(in), {});
  object_ = bpf_object__open_mem(file_.data(), file_.size(), &options);
  if (object_ == nullptr) {
    return fail(ExitCode::bad_input, "{}: is not a BPF object that libbpf can open: {}", path,
                last_words());
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    bpf_map__set_pin_path(map, nullptr);
  }
  leave_out_foreign_programs();
  libbpf_words.clear();
  if (const int error = bpf_object__load(object_); error != 0) {
    return fail(ExitCode::program_rejected, "rejected by {}: {}: {}: {}", name(), path,
                std::strerror(-error), last_words());
  }
  list();
  return {};
}

void KernelSide::leave_out_foreign_programs() {
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object_, program)) != nullptr) {
    const bpf_prog_type type = bpf_program__type(program);
    if (type == BPF_PROG_TYPE_XDP || type == BPF_PROG_TYPE_SCHED_CLS) continue;
    bpf_program__set_autoload(program, false);
    const char* type_name = libbpf_bpf_prog_type_str(type);
    left_out_.push_back({bpf_program__name(program), bpf_program__section_name(program),
                         type_name == nullptr ? "unknown" : type_name,
                         type == BPF_PROG_TYPE_UNSPEC
                             ? "its section name does not say a program type"
                             : "only XDP and tc programs are compared"});
  }
}

void KernelSide::list() {
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object_, program)) != nullptr) {
    if (!bpf_program__autoload(program)) continue;
    const bpf_insn* first = bpf_program__insns(program);
    programs_.push_back({bpf_program__name(program),
                         bpf_program__section_name(program),
                         bpf_program__type(program),
                         {first, first + bpf_program__insn_cnt(program)},
                         bpf_program__fd(program)});
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    const bpf_map_type type = bpf_map__type(map);
    uint32_t value_size = bpf_map__value_size(map);
    if (is_per_cpu(type)) value_size = (value_size + 7) / 8 * 8 * real_possible_cpus();
    maps_.push_back({map_name(map), type, bpf_map__key_size(map), value_size,
                     bpf_map__max_entries(map), bpf_map__map_flags(map), is_per_cpu(type),
                     bpf_map__fd(map)});
  }
}

const SideMap* KernelSide::map(std::string_view name) const {
  const auto found =
      std::find_if(maps_.begin(), maps_.end(), [&](const SideMap& m) { return m.name == name; });
  return found == maps_.end() ? nullptr : &*found;
}

const SideProgram* KernelSide::program(std::string_view name) const {
  const auto found = std::find_if(programs_.begin(), programs_.end(),
                                  [&](const SideProgram& p) { return p.name == name; });
  return found == programs_.end() ? nullptr : &*found;
}

long KernelSide::bpf(uint32_t command, bpf_attr& attributes) {
  if (kernel_) return vm::bpf_syscall(*kernel_, command, &attributes, sizeof attributes);
  const long answer = syscall(__NR_bpf, command, &attributes, sizeof attributes);
  return answer < 0 ? -errno : answer;
}

long KernelSide::update(const SideMap& map, const Bytes& key, const Bytes& value) {
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map.fd);
  attr.key = address_of(key.data());
  attr.value = address_of(value.data());
  return bpf(BPF_MAP_UPDATE_ELEM, attr);
}

std::optional<MapContents> KernelSide::contents(const SideMap& map) {
  if (!can_be_listed(map.type)) return std::nullopt;
  MapContents found;
  Bytes key(map.key_size);
  Bytes next(map.key_size);
  Bytes value(map.value_size);
  bool first = true;
  while (true) {
    bpf_attr walk{};
    walk.map_fd = static_cast<uint32_t>(map.fd);
    walk.key = first ? 0 : address_of(key.data());
    walk.next_key = address_of(next.data());
    if (bpf(BPF_MAP_GET_NEXT_KEY, walk) != 0) return found;
    bpf_attr look{};
    look.map_fd = static_cast<uint32_t>(map.fd);
    look.key = address_of(next.data());
    look.value = address_of(value.data());
    const long answer = bpf(BPF_MAP_LOOKUP_ELEM, look);
    if (holds_ids(map.type)) {
      found[next] = {static_cast<uint8_t>(answer == 0)};
    } else {
      found[next] = answer == 0 ? value : Bytes{};
    }
    std::swap(key, next);
    first = false;
  }
}

RunAnswer KernelSide::run(const SideProgram& program, const RunRequest& request) {
  RunAnswer answer;
  answer.data.assign(std::max<size_t>(request.data_room, request.data.size() + kGrowth),
                     kUntouched);
  answer.context.assign(request.context_room, kUntouched);
  bpf_attr attr{};
  attr.test.prog_fd = static_cast<uint32_t>(program.fd);
  attr.test.data_in = address_of(request.data.data());
  attr.test.data_size_in = static_cast<uint32_t>(request.data.size());
  attr.test.data_out = address_of(answer.data.data());
  attr.test.data_size_out = request.data_room;
  if (!request.context.empty()) {
    attr.test.ctx_in = address_of(request.context.data());
    attr.test.ctx_size_in = static_cast<uint32_t>(request.context.size());
  }
  if (request.context_room != 0) {
    attr.test.ctx_out = address_of(answer.context.data());
    attr.test.ctx_size_out = request.context_room;
  }
  answer.error = bpf(BPF_PROG_TEST_RUN, attr);
  answer.code = attr.test.retval;
  answer.data_size = attr.test.data_size_out;
  answer.context_size = attr.test.ctx_size_out;
  const size_t given =
      std::max<size_t>(answer.data_size, answer.error == 0 ? 0 : request.data_room);
  answer.data.resize(std::min(answer.data.size(), given + kComparedBehind));
  return answer;
}

void KernelSide::pass_milliseconds(uint32_t milliseconds) {
  if (!kernel_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return;
  }
  vm::Environment& environment = kernel_->environment();
  kernel_->timers().run_until(environment.now_ns + milliseconds * 1'000'000ull, environment);
}

vm::Map* KernelSide::emulated_map(const SideMap& map) {
  return kernel_ ? kernel_->map_by_fd(map.fd).get() : nullptr;
}

std::string why_no_real_kernel() {
  // r0 = XDP_PASS; exit
  const std::array<bpf_insn, 2> pass = {
      bpf_insn{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 2},
      bpf_insn{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_XDP;
  attr.insns = address_of(pass.data());
  attr.insn_cnt = pass.size();
  attr.license = address_of("GPL");
  const long fd = syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof attr);
  if (fd >= 0) {
    close(static_cast<int>(fd));
    return {};
  }
  return fmt::format(
      "the kernel of this machine does not let this process load a program ({}), so there is "
      "nothing to compare with; it takes root, or CAP_BPF and CAP_NET_ADMIN",
      std::strerror(errno));
}

uint32_t real_possible_cpus() {
  const int count = libbpf_num_possible_cpus();
  return count > 0 ? static_cast<uint32_t>(count) : 1;
}

PinnedToCpu0::PinnedToCpu0() : before_(sizeof(cpu_set_t)) {
  sched_getaffinity(0, sizeof(cpu_set_t), reinterpret_cast<cpu_set_t*>(before_.data()));
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(0, &only);
  pinned_ = sched_setaffinity(0, sizeof only, &only) == 0;
}

PinnedToCpu0::~PinnedToCpu0() {
  sched_setaffinity(0, sizeof(cpu_set_t), reinterpret_cast<cpu_set_t*>(before_.data()));
}

}  // namespace xnic::sim
