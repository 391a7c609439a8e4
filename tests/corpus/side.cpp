#include "tests/corpus/side.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

#include "vm/syscall.h"

namespace xnic::test {
namespace {

std::string& libbpf_words() {
  static std::string words;
  return words;
}

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 1024> line{};
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  libbpf_words() += line.data();
  return length;
}

bool is_per_cpu(bpf_map_type type) {
  return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH;
}

}  // namespace

Side::Side(vm::Engine* engine) {
  if (engine == nullptr) {
    host_ = std::make_unique<RealKernel>();
    return;
  }
  kernel_.emplace(*engine, vm::KernelOptions{.possible_cpus = real_possible_cpus(), .seed = 1});
  host_ = std::make_unique<EmulatedKernel>(*kernel_);
}

Side::~Side() {
  std::optional<vm::KernelScope> scope;
  if (kernel_) scope.emplace(*kernel_);
  bpf_object__close(object_);
}

std::string Side::load(const std::string& path, const std::function<void(bpf_object*)>& prepare) {
  std::optional<vm::KernelScope> scope;
  if (kernel_) scope.emplace(*kernel_);
  libbpf_words().clear();
  libbpf_set_print(keep_words);
  object_ = bpf_object__open_file(path.c_str(), nullptr);
  if (object_ == nullptr) return fmt::format("{}: cannot be opened: {}", path, libbpf_words());
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    bpf_map__set_pin_path(map, nullptr);
  }
  if (prepare) prepare(object_);
  if (bpf_object__load(object_) != 0) {
    return fmt::format("{}: {} does not load it: {}", path, host_->name(), libbpf_words());
  }
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object_, program)) != nullptr) {
    if (bpf_program__fd(program) < 0) continue;  // `prepare` left it out
    programs_.push_back(
        {bpf_program__name(program), bpf_program__type(program), bpf_program__fd(program)});
  }
  while ((map = bpf_object__next_map(object_, map)) != nullptr) {
    if (bpf_map__fd(map) < 0) continue;
    const bpf_map_type type = bpf_map__type(map);
    uint32_t value_size = bpf_map__value_size(map);
    if (is_per_cpu(type)) value_size = (value_size + 7) / 8 * 8 * real_possible_cpus();
    maps_.push_back({bpf_map__name(map), type, bpf_map__key_size(map), value_size,
                     bpf_map__max_entries(map), is_per_cpu(type), bpf_map__fd(map)});
  }
  return {};
}

const SideMap* Side::map(const std::string& name) const {
  for (const SideMap& map : maps_) {
    if (map.name == name) return &map;
  }
  return nullptr;
}

const SideProgram* Side::program(const std::string& name) const {
  for (const SideProgram& program : programs_) {
    if (program.name == name) return &program;
  }
  return nullptr;
}

long Side::update(const SideMap& map, const Bytes& key, const Bytes& value) {
  bpf_attr attr{};
  attr.map_fd = static_cast<uint32_t>(map.fd);
  attr.key = address_of(key.data());
  attr.value = address_of(value.data());
  return host_->bpf(BPF_MAP_UPDATE_ELEM, attr);
}

MapContents Side::contents(const SideMap& map) {
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
    if (map.type == BPF_MAP_TYPE_PROG_ARRAY) {
      found[next] = {static_cast<uint8_t>(answer == 0)};
    } else {
      found[next] = answer == 0 ? value : Bytes{};
    }
    std::swap(key, next);
    first = false;
  }
}

}  // namespace xnic::test
