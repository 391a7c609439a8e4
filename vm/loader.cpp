// Loading over libbpf 1.1. Test: tests/vm/loader_test.cpp.
#include "vm/loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "vm/device_calls.h"
#include "vm/helper.h"
#include "vm/kernel_face.h"
#include "vm/libbpf_words.h"
#include "vm/program_type.h"
#include "vm/sha256.h"
#include "vm/syscall.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kPinObject = 1;  // PIN_OBJECT_NS and PIN_GLOBAL_NS of iproute2
constexpr uint32_t kPinGlobal = 2;

// Why the program is refused.
std::string refusal_words(const Kernel& kernel, const std::string& program, int error) {
  const Judgement* judgement = kernel.judgement_of(program);
  const bool said = judgement != nullptr && judgement->rejection;
  return said ? words_of(*judgement->rejection) : std::strerror(-error);
}

// Why a program that can be loaded would be loaded for nothing.
std::string why_not_run(const bpf_program* program) {
  const ProgramType& type = *find_program_type(bpf_program__type(program));
  if (!type.is_only_verified) return {};
  return fmt::format("nothing here runs programs of type {}; xnic verify judges them", type.name);
}

}  // namespace

std::string why_not_loadable(const bpf_program* program) {
  const char* section = bpf_program__section_name(program);
  const bpf_prog_type type = bpf_program__type(program);
  if (type == BPF_PROG_TYPE_UNSPEC) {
    return fmt::format("its section name \"{}\" does not say a program type", section);
  }
  if (type == BPF_PROG_TYPE_EXT) {
    return fmt::format(
        "its section \"{}\" makes it the replacement of a function in another program, which does "
        "not exist here",
        section);
  }
  if (find_program_type(type) != nullptr) return {};
  const char* words = libbpf_bpf_prog_type_str(type);
  return fmt::format("its section \"{}\" makes it one of type {}, which does not exist here",
                     section, words == nullptr ? "unknown" : words);
}

Result<std::unique_ptr<Object>> Object::load(Kernel& kernel, const std::string& path,
                                             const ObjectOptions& load_options) {
  const auto file = ObjectFile::read(path);
  if (!file) return tl::unexpected(file.error());
  std::unique_ptr<Object> object(new Object(kernel, path, load_options));
  const KernelScope scope(kernel);
  const auto attempt = [&] {
    return object->open(*file).and_then([&] { return object->prepare(); }).and_then([&] {
      return object->load_into_kernel();
    });
  };
  if (!load_options.tried) {
    auto survived = libbpf_survives(path, [&] { static_cast<void>(attempt()); });
    if (!survived) return tl::unexpected(survived.error());
  }
  if (auto done = attempt(); !done) return tl::unexpected(done.error());
  return object;
}

Object::~Object() {
  const KernelScope scope(kernel_);
  file_.reset();
}

Result<void> Object::open(std::span<const uint8_t> file) {
  for (const uint8_t byte : vm::sha256(file)) sha256_ += fmt::format("{:02x}", byte);
  auto opened = ObjectFile::open(
      path_, file, {.btf_path = options_.btf_path, .configuration = kernel_configuration()});
  if (!opened) return tl::unexpected(opened.error());
  file_ = std::move(*opened);
  set_pin_paths();
  bind_to_device(file);
  return {};
}

// Where tc of iproute2 pins: a folder for each object, and one for all.
void Object::set_pin_paths() {
  for (const LegacyMap& map : file_->legacy_maps()) {
    if (map.pinning != kPinObject && map.pinning != kPinGlobal) continue;
    const std::string place = fmt::format(
        "/sys/fs/bpf/tc/{}/{}", map.pinning == kPinGlobal ? "globals" : sha256_, map.name);
    bpf_map__set_pin_path(bpf_object__find_map_by_name(file_->object(), map.name.c_str()),
                          place.c_str());
    // libbpf makes the last folder of a pin's path alone; it is no matter if this one is there.
    static_cast<void>(kernel_.bpffs.make_directory("/sys/fs/bpf/tc"));
  }
}

Result<void> Object::prepare() {
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(file_->object(), map)) != nullptr) {
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
    if (auto kept = keep(map); !kept) return kept;
  }
  return choose_programs();
}

Result<void> Object::keep(bpf_map* map) {
  const bpf_map_type type = bpf_map__type(map);
  const auto same_name = [&](const LoadedMap& one) { return one.name == bpf_map__name(map); };
  const auto kept = std::ranges::find_if(options_.keeps, same_name);
  if (kept == options_.keeps.end() || bpf_map__is_internal(map)) return {};
  if (type == BPF_MAP_TYPE_PROG_ARRAY) return {};
  const MapSpec& spec = kept->map->spec();
  // libbpf makes the size of a ring one that Linux takes.
  const bool same_entries =
      type == BPF_MAP_TYPE_RINGBUF || bpf_map__max_entries(map) == spec.max_entries;
  if (type != spec.type || bpf_map__key_size(map) != spec.key_size ||
      bpf_map__value_size(map) != spec.value_size || !same_entries) {
    return fail(ExitCode::bad_input,
                "{}: map {} cannot take over the entries of the one that is there: its type, sizes "
                "of key and value, or max_entries differ; load it with a map of its own",
                path_, kept->name);
  }
  const int fd = kernel_.maps.open(kept->map->id);
  const int error = fd < 0 ? fd : bpf_map__reuse_fd(map, fd);
  if (fd >= 0) close(fd);
  if (error == 0) return {};
  return fail(ExitCode::bad_input, "{}: map {} cannot take over the one that is there: {}", path_,
              kept->name, std::strerror(-error));
}

// Leaves a note if not.
bool Object::usable(bpf_program* program) {
  std::string why = why_not_loadable(program);
  if (why.empty()) why = why_not_run(program);
  if (why.empty()) return true;
  notes_.push_back(
      fmt::format("{}: program {} is left out: {}", path_, bpf_program__name(program), why));
  return false;
}

Result<void> Object::choose_programs() {
  size_t found = 0;
  std::vector<bpf_program*> chosen;
  std::vector<bpf_program*> waiting;  // '?' in front of their section: only when asked for
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(file_->object(), program)) != nullptr) {
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

// As the user space of such programs does.
void Object::bind_to_device(std::span<const uint8_t> file) {
  if (options_.device == 0) return;
  const std::vector<std::string> functions = functions_that_need_a_device(file);
  const auto calls = [&](const char* name) {
    return std::ranges::find(functions, name) != functions.end();
  };
  // What is no program is called by some.
  const bool by_all = std::ranges::any_of(functions, [&](const std::string& name) {
    return bpf_object__find_program_by_name(file_->object(), name.c_str()) == nullptr;
  });
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(file_->object(), program)) != nullptr) {
    if (bpf_program__type(program) != BPF_PROG_TYPE_XDP) continue;
    if (!by_all && !calls(bpf_program__name(program))) continue;
    bpf_program__set_ifindex(program, options_.device);
    bpf_program__set_flags(program, bpf_program__flags(program) | uapi::kDeviceBoundOnly);
  }
}

Result<void> Object::load_into_kernel() {
  listen_to_libbpf();
  if (const int error = bpf_object__load(file_->object()); error != 0) {
    if (const std::string name = refused_program(); !name.empty()) {
      return fail(ExitCode::program_rejected, "{}: program {} is rejected: {}", path_, name,
                  refusal_words(kernel_, name, error));
    }
    return fail(ExitCode::bad_input, "{}: cannot be loaded: {}", path_, first_libbpf_words());
  }
  if (auto filled = file_->fill_map_in_maps(); !filled) return filled;
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(file_->object(), program)) != nullptr) {
    if (!bpf_program__autoload(program)) continue;
    programs_.push_back({bpf_program__name(program), bpf_program__section_name(program),
                         kernel_.program_by_fd(bpf_program__fd(program))});
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(file_->object(), map)) != nullptr) {
    auto live = kernel_.map_by_fd(bpf_map__fd(map));
    if (live == nullptr) continue;
    maps_.push_back({shown_map_name(bpf_map__name(map), bpf_map__is_internal(map)), live});
  }
  return {};
}

}  // namespace xnic::vm
