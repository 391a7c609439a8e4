// Lifetimes of the emulated kernel's objects, its devices, and pins that outlive it.
// Test: tests/vm/syscall_lifetime_test.cpp, tests/vm/syscall_pin_test.cpp.
#include "vm/kernel.h"

#include <linux/if_link.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "vm/maps/map_in_map.h"
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
    for (Hook& hook : at->hooks) {
      if (hook.single().link == link.id) hook.detach();
    }
  } else {
    const bool ingress = link.attach_type == uapi::kTcxIngress;
    at->hook(ingress ? HookPoint::tc_ingress : HookPoint::tc_egress)
        .tcx()
        .detach({link.program, link.id}, 0, nothing_relative, 0);
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
  const auto saved = read_pin_file(file);
  if (!saved) return tl::unexpected(saved.error());
  auto map = make_map(*saved);
  if (!map) return fail(ExitCode::bad_input, "{}: {}; remove the file", file, map.error());
  return *map;
}

tl::expected<std::shared_ptr<Map>, std::string> Kernel::make_map(const SavedMap& saved) {
  const auto wrong = [](std::string why) { return tl::unexpected(std::move(why)); };
  MapSpec spec = saved.spec;
  // Linux adds to a devmap's flags what it does not let anyone ask for.
  if (spec.type == BPF_MAP_TYPE_DEVMAP || spec.type == BPF_MAP_TYPE_DEVMAP_HASH)
    spec.flags &= ~static_cast<uint32_t>(BPF_F_RDONLY_PROG);
  const MapType* type = find_map_type(spec.type);
  if (type == nullptr || type->check(spec) != 0 || holds_maps(spec) != saved.like.has_value())
    return wrong("the saved map cannot be made here");
  std::shared_ptr<Btf> btf;
  if (!saved.btf.empty()) {
    btf = Btf::parse(saved.btf);
    if (btf == nullptr || check_map_btf(btf, spec) != 0) return wrong("the saved BTF is damaged");
  }
  int like_fd = -1;
  if (saved.like) {
    const auto like = create_map(*saved.like, nullptr);
    if (!like) return wrong("what the inner maps are like cannot be made here");
    like_fd = spec.inner_map_fd = maps.open((*like)->id);
  }
  auto map = create_map(spec, std::move(btf));
  if (like_fd >= 0) close(like_fd);
  if (!map) {
    return wrong(fmt::format("the saved map cannot be made: {}", std::strerror(-map.error())));
  }
  if (std::string why = fill_map(**map, saved); !why.empty()) return wrong(std::move(why));
  (*map)->frozen = saved.frozen;
  return *map;
}

tl::expected<std::shared_ptr<Map>, int> Kernel::create_map(const MapSpec& spec,
                                                           std::shared_ptr<Btf> btf) {
  const MapType* type = find_map_type(spec.type);
  if (type == nullptr || type->check(spec) != 0) return tl::unexpected(-EINVAL);
  ObjectFd fd("bpf-map");
  const MapContext context{.possible_cpus = options_.possible_cpus,
                           .objects = this,
                           .memory_fd = fd.fd(),
                           .seed = options_.seed};
  auto map = type->create(spec, context);
  if (!map) return map;
  (*map)->btf = btf;
  if (btf != nullptr) btfs.add_quietly(std::move(btf), ObjectFd("bpf-btf"));
  maps.add_quietly(*map, std::move(fd));
  return map;
}

std::string Kernel::fill_map(Map& map, const SavedMap& saved) {
  const uint32_t value_size = map.user_value_size();
  const bool per_cpu = value_size != map.spec().value_size;
  for (SavedMap::Entry entry : saved.entries) {
    // The machine may have more CPUs, or fewer, than the one that saved it.
    if (per_cpu && entry.value.size() % 8 == 0) entry.value.resize(value_size);
    const int error = entry.value.size() == value_size
                          ? map.user_update(entry.key.data(), entry.value.data(), BPF_ANY)
                          : -EINVAL;
    if (error != 0)
      return fmt::format("a saved entry does not fit the map: {}", std::strerror(-error));
  }
  if (!saved.contents.empty()) {
    if (const int error = map.restore_contents(saved.contents); error != 0)
      return fmt::format("its saved contents do not fit the map: {}", std::strerror(-error));
  }
  std::vector<std::shared_ptr<Map>> inner;
  for (const SavedMap& one : saved.inner) {
    auto made = make_map(one);
    if (!made) return fmt::format("inner map {}: {}", inner.size(), made.error());
    inner.push_back(std::move(*made));
  }
  for (const SavedMap::Slot& slot : saved.slots) {
    std::shared_ptr<Map> there;
    if (slot.pin.empty()) {
      there = inner[slot.inner];
    } else if (Pinned pinned; bpffs.get(slot.pin, pinned) == 0) {
      if (const auto* map_there = std::get_if<std::shared_ptr<Map>>(&pinned)) there = *map_there;
    }
    if (there == nullptr) {
      bpffs.note(fmt::format("the map that was pinned at {} is gone from map {}", slot.pin,
                             map.spec().name));
      continue;
    }
    const int fd = maps.open(there->id);
    const int error = map.user_update(slot.key.data(), reinterpret_cast<const uint8_t*>(&fd), 0);
    close(fd);
    if (error != 0)
      return fmt::format("a saved inner map does not fit the map: {}", std::strerror(-error));
  }
  return {};
}

}  // namespace xnic::vm
