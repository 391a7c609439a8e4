// Lifetimes of the emulated kernel's objects, its devices, and pins that outlive it.
// Test: tests/vm/syscall_lifetime_test.cpp, tests/vm/syscall_pin_test.cpp.
#include "vm/kernel.h"

#include <linux/if_link.h>

#include <algorithm>
#include <cstring>

#include "vm/pin_file.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

int nothing_relative(Attached&) { return 0; }

}  // namespace

Kernel::~Kernel() {
  maps.for_each([](Map& map) { map.release_programs(); });
}

void Kernel::collect() {
  const OpenFiles open_files;
  maps.for_each([&](Map& map) {
    if (map.spec().type == BPF_MAP_TYPE_PROG_ARRAY && !maps.is_held(map.id, open_files) &&
        !bpffs.holds(&map)) {
      map.release_programs();
    }
  });
  const auto nothing = [](auto&) {};
  // An object that goes may be the last to hold another.
  size_t dropped = 1;
  while (dropped != 0) {
    dropped = links.drop_unused(open_files, [this](Link& link) { detach(link); });
    dropped += programs.drop_unused(open_files, nothing);
    dropped += maps.drop_unused(open_files, nothing);
    dropped += btfs.drop_unused(open_files, nothing);
  }
}

NetDevice* Kernel::device(uint32_t ifindex) {
  const auto found = std::find_if(devices_.begin(), devices_.end(),
                                  [&](const NetDevice& d) { return d.ifindex == ifindex; });
  return found == devices_.end() ? nullptr : &*found;
}

void Kernel::detach(Link& link) {
  NetDevice* at = device(link.ifindex);
  if (at == nullptr) return;
  if (link.type == BPF_LINK_TYPE_XDP) {
    for (Attached& slot : at->xdp) {
      if (slot.link == link.id) slot = {};
    }
  } else {
    AttachPoint& point = link.attach_type == uapi::kTcxIngress ? at->tcx_ingress : at->tcx_egress;
    point.detach({link.program, link.id}, 0, nothing_relative, 0);
  }
  link.ifindex = 0;
}

int Kernel::enable_stats() {
  const ObjectFd fd("bpf-stats");
  const int user_fd = fd.duplicate();
  if (user_fd >= 0) stats_.push_back(fd.file());
  return user_fd;
}

bool Kernel::stats_enabled() {
  if (stats_.empty()) return false;
  const OpenFiles open_files;
  std::erase_if(stats_, [&](const FileId& file) { return !open_files.holds(file); });
  return !stats_.empty();
}

Result<void> Kernel::keep_pins_in(const std::string& directory) {
  return bpffs.keep_in(directory, [this](const std::string& file) { return restore_map(file); });
}

Result<std::shared_ptr<Map>> Kernel::restore_map(const std::string& file) {
  auto saved = read_pin_file(file);
  if (!saved) return tl::unexpected(saved.error());
  const MapType* type = find_map_type(saved->spec.type);
  if (type == nullptr || type->check(saved->spec) != 0) {
    return fail(ExitCode::bad_input, "{}: the saved map cannot be made here; remove the file",
                file);
  }
  std::shared_ptr<Btf> btf;
  if (!saved->btf.empty()) {
    btf = Btf::parse(saved->btf);
    if (btf == nullptr) {
      return fail(ExitCode::bad_input, "{}: the saved BTF is damaged; remove the file", file);
    }
  }
  ObjectFd fd("bpf-map");
  const MapContext context{.possible_cpus = options_.possible_cpus,
                           .objects = this,
                           .memory_fd = fd.fd(),
                           .seed = options_.seed};
  auto map = type->create(saved->spec, context);
  if (!map) {
    return fail(ExitCode::bad_input, "{}: the saved map cannot be made: {}", file,
                std::strerror(-map.error()));
  }
  for (SavedMap::Entry& entry : saved->entries) {
    // The machine may have more CPUs, or fewer, than the one that saved it.
    entry.value.resize((*map)->user_value_size());
    if (const int error = (*map)->user_update(entry.key.data(), entry.value.data(), BPF_ANY);
        error != 0) {
      return fail(ExitCode::bad_input, "{}: a saved entry does not fit the map: {}", file,
                  std::strerror(-error));
    }
  }
  (*map)->frozen = saved->frozen;
  (*map)->btf = btf;
  if (btf != nullptr) btfs.add_quietly(std::move(btf), ObjectFd("bpf-btf"));
  maps.add_quietly(*map, std::move(fd));
  return *map;
}

}  // namespace xnic::vm
