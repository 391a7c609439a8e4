// bpf(2) alike on two kernels, for comparing them. Left out: programs other than XDP and tc, which
// are listed instead.
// Test: tests/sim/comparison_test.cpp and tests/differential.
#include "sim/kernel_side.h"

#include <bpf/libbpf.h>
#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "vm/kernel_face.h"
#include "vm/libbpf_words.h"

namespace xnic::sim {
namespace {

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

}  // namespace

Result<std::unique_ptr<KernelSide>> KernelSide::emulated(const std::string& path,
                                                         vm::Engine& engine, uint64_t seed,
                                                         const SideOptions& options) {
  const auto file = vm::ObjectFile::read(path);
  if (!file) return tl::unexpected(file.error());
  std::unique_ptr<KernelSide> side(new KernelSide);
  side->kernel_.emplace(
      engine, vm::KernelOptions{
                  .possible_cpus = real_possible_cpus(), .seed = seed, .network = options.network});
  side->host_ = std::make_unique<EmulatedKernel>(*side->kernel_);
  const auto attempt = [&] { static_cast<void>(side->load(path, *file, options)); };
  if (auto survived = vm::libbpf_survives(path, attempt); !survived) {
    return tl::unexpected(survived.error());
  }
  if (auto loaded = side->load(path, *file, options); !loaded) {
    return tl::unexpected(loaded.error());
  }
  return side;
}

Result<std::unique_ptr<KernelSide>> KernelSide::real(const std::string& path,
                                                     const SideOptions& options) {
  if (const std::string why = why_no_real_kernel(); !why.empty()) {
    return fail(ExitCode::not_available, "{}", why);
  }
  const auto file = vm::ObjectFile::read(path);
  if (!file) return tl::unexpected(file.error());
  std::unique_ptr<KernelSide> side(new KernelSide);
  side->host_ = std::make_unique<RealKernel>();
  if (auto loaded = side->load(path, *file, options); !loaded) {
    return tl::unexpected(loaded.error());
  }
  return side;
}

std::unique_ptr<vm::KernelScope> KernelSide::scope() {
  return kernel_ ? std::make_unique<vm::KernelScope>(*kernel_) : nullptr;
}

KernelSide::~KernelSide() {
  const auto in_scope = scope();
  file_.reset();
}

Result<void> KernelSide::load(const std::string& path, std::span<const uint8_t> file,
                              const SideOptions& options) {
  const auto in_scope = scope();
  vm::ObjectFileOptions opening;
  if (kernel_) opening.configuration = vm::kernel_configuration();
  auto opened = vm::ObjectFile::open(path, file, opening);
  if (!opened) return tl::unexpected(opened.error());
  file_ = std::move(*opened);
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(file_->object(), map)) != nullptr) {
    bpf_map__set_pin_path(map, nullptr);
  }
  if (options.prepare) {
    options.prepare(file_->object());
  } else {
    choose_programs(options.programs);
  }
  vm::listen_to_libbpf();
  if (const int error = bpf_object__load(file_->object()); error != 0) {
    const std::string refused = vm::refused_program();
    const vm::Judgement* judgement = kernel_ ? kernel_->judgement_of(refused) : nullptr;
    if (judgement != nullptr && judgement->rejection) {
      return fail(ExitCode::program_rejected, "rejected by {}: {}: program {}: {}", name(), path,
                  refused, vm::words_of(*judgement->rejection));
    }
    return fail(ExitCode::program_rejected, "rejected by {}: {}: {}: {}", name(), path,
                std::strerror(-error), vm::last_libbpf_words());
  }
  if (auto filled = file_->fill_map_in_maps(); !filled) return filled;
  list();
  return {};
}

void KernelSide::choose_programs(const std::vector<std::string>& wanted) {
  std::vector<bpf_program*> waiting;  // '?' in front of their section
  bool any = false;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(file_->object(), program)) != nullptr) {
    const bpf_prog_type type = bpf_program__type(program);
    if (type == BPF_PROG_TYPE_UNSPEC) {
      leave_out(program, "its section name does not say a program type");
    } else if (type != BPF_PROG_TYPE_XDP && type != BPF_PROG_TYPE_SCHED_CLS) {
      leave_out(program, "only XDP and tc programs are compared");
    } else if (!bpf_program__autoload(program)) {
      waiting.push_back(program);
    } else {
      any = true;
    }
  }
  for (bpf_program* one : waiting) {
    const bool named = std::ranges::find(wanted, bpf_program__name(one)) != wanted.end();
    if (!any || named) {
      bpf_program__set_autoload(one, true);
    } else {
      leave_out(one, "the '?' of its section has it loaded only when it is asked for by name");
    }
  }
}

void KernelSide::leave_out(bpf_program* program, std::string reason) {
  bpf_program__set_autoload(program, false);
  const char* type_name = libbpf_bpf_prog_type_str(bpf_program__type(program));
  left_out_.push_back({bpf_program__name(program), bpf_program__section_name(program),
                       type_name == nullptr ? "unknown" : type_name, std::move(reason)});
}

void KernelSide::list() {
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(file_->object(), program)) != nullptr) {
    if (!bpf_program__autoload(program)) continue;
    const bpf_insn* first = bpf_program__insns(program);
    programs_.push_back({bpf_program__name(program),
                         bpf_program__section_name(program),
                         bpf_program__type(program),
                         {first, first + bpf_program__insn_cnt(program)},
                         bpf_program__fd(program)});
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(file_->object(), map)) != nullptr) {
    if (bpf_map__fd(map) < 0) continue;
    const bpf_map_type type = bpf_map__type(map);
    uint32_t value_size = bpf_map__value_size(map);
    if (is_per_cpu(type)) value_size = (value_size + 7) / 8 * 8 * real_possible_cpus();
    maps_.push_back({vm::shown_map_name(bpf_map__name(map), bpf_map__is_internal(map)), type,
                     bpf_map__key_size(map), value_size, bpf_map__max_entries(map),
                     bpf_map__map_flags(map), is_per_cpu(type), bpf_map__fd(map)});
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

long KernelSide::update(const SideMap& map, const Bytes& key, const Bytes& value) {
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map.fd);
  attr.key = address_of(key.data());
  attr.value = address_of(value.data());
  return host_->bpf(BPF_MAP_UPDATE_ELEM, attr);
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
    if (host_->bpf(BPF_MAP_GET_NEXT_KEY, walk) != 0) return found;
    bpf_attr look{};
    look.map_fd = static_cast<uint32_t>(map.fd);
    look.key = address_of(next.data());
    look.value = address_of(value.data());
    const long answer = host_->bpf(BPF_MAP_LOOKUP_ELEM, look);
    if (holds_ids(map.type)) {
      found[next] = {static_cast<uint8_t>(answer == 0)};
    } else {
      found[next] = answer == 0 ? value : Bytes{};
    }
    std::swap(key, next);
    first = false;
  }
}

void KernelSide::pass_milliseconds(uint32_t milliseconds) {
  if (!kernel_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return;
  }
  vm::Environment& environment = kernel_->environment();
  kernel_->timers().run_until(environment.now_ns + milliseconds * 1'000'000ull, environment);
}

MapContents without_list_heads(MapContents contents, const vm::Map& map) {
  for (const vm::SpecialField& field : map.spec().fields.all()) {
    if (field.kind != vm::SpecialField::Kind::list_head) continue;
    for (auto& [key, value] : contents) {
      if (value.size() < field.offset + field.size) continue;
      std::fill_n(value.begin() + field.offset, field.size, uint8_t{0});
    }
  }
  return contents;
}

vm::Map* KernelSide::emulated_map(const SideMap& map) {
  return kernel_ ? kernel_->map_by_fd(map.fd).get() : nullptr;
}

std::string real_kernel_name() {
  utsname name{};
  uname(&name);
  return fmt::format("{} {}", name.sysname, name.release);
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
