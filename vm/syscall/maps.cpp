// bpf(2): making maps, and their elements one at a time. kernel/bpf/syscall.c was read for the
// order of checks and their errno. Left out: BPF_F_LOCK, maps of a device, tokens.
// Test: tests/vm/syscall_test.cpp.
#include "vm/btf.h"
#include "vm/syscall/commands.h"
#include "vm/syscall/user_map.h"
#include "vm/syscall/user_memory.h"

namespace xnic::vm {
namespace {

bool has_value_face(const Map& map) { return map.spec().value_size != 0; }

// The key of a command on one element: null for maps without keys, which want none.
int user_key(const Map& map, uint64_t address, const uint8_t*& key) {
  key = user_pointer<const uint8_t>(address);
  if (map.spec().key_size == 0) return key == nullptr ? 0 : -EINVAL;
  return key == nullptr ? -EFAULT : 0;
}

// BPF_F_LOCK where values have nothing to lock.
bool locks_nothing(const Map& map, uint64_t flags) {
  return (flags & BPF_F_LOCK) != 0 && !map.spec().fields.has_spin_lock();
}

}  // namespace

UserMap user_map(Kernel& kernel, uint32_t fd, MapUse use) {
  UserMap found{kernel.map_by_fd(static_cast<int>(fd))};
  if (found.map == nullptr) {
    found.error = wrong_descriptor(fd);
    return found;
  }
  const bool reads = use != MapUse::write;
  const bool writes = use != MapUse::read;
  if ((reads && !may_access(fd, false)) ||
      (writes && (!may_access(fd, true) || found.map->frozen))) {
    found.error = -EPERM;
  }
  return found;
}

long map_create(Kernel& kernel, bpf_attr& attr) {
  if (attr.btf_vmlinux_value_type_id != 0) return -EINVAL;
  if (attr.btf_key_type_id != 0 && attr.btf_value_type_id == 0) return -EINVAL;
  if (attr.map_ifindex != 0) return -EINVAL;
  if ((attr.map_flags & BPF_F_RDONLY) != 0 && (attr.map_flags & BPF_F_WRONLY) != 0) return -EINVAL;
  if (attr.map_extra != 0 && attr.map_type != BPF_MAP_TYPE_BLOOM_FILTER) return -EINVAL;
  if ((attr.map_flags & BPF_F_NUMA_NODE) != 0 && attr.numa_node != 0) return -EINVAL;
  const MapType* type = find_map_type(attr.map_type);
  if (type == nullptr) return -EINVAL;

  MapSpec spec{.type = type->type,
               .key_size = attr.key_size,
               .value_size = attr.value_size,
               .max_entries = attr.max_entries,
               .flags = attr.map_flags,
               .name = {},
               .map_extra = attr.map_extra,
               .btf_key_type_id = attr.btf_key_type_id,
               .btf_value_type_id = attr.btf_value_type_id,
               .inner_map_fd = static_cast<int>(attr.inner_map_fd)};
  if (const int error = type->check(spec); error != 0) return error;
  if (const int error = copy_name(attr.map_name, sizeof attr.map_name, spec.name); error != 0)
    return error;
  std::shared_ptr<const Btf> btf;
  if (attr.btf_key_type_id != 0 || attr.btf_value_type_id != 0) {
    btf = kernel.btfs.by_fd(static_cast<int>(attr.btf_fd));
    if (btf == nullptr) return wrong_descriptor(attr.btf_fd);
    if (spec.btf_key_type_id >= btf->type_count() || spec.btf_value_type_id >= btf->type_count()) {
      return -EINVAL;
    }
    if (const int error = check_map_btf(*btf, spec); error != 0) return error;
  }

  ObjectFd fd("bpf-map");
  const MapContext context{.possible_cpus = kernel.options().possible_cpus,
                           .objects = &kernel,
                           .memory_fd = fd.fd(),
                           .seed = kernel.options().seed};
  auto map = type->create(spec, context);
  if (!map) return map.error();
  (*map)->btf = std::move(btf);
  const int access = (attr.map_flags & BPF_F_RDONLY) != 0   ? O_RDONLY
                     : (attr.map_flags & BPF_F_WRONLY) != 0 ? O_WRONLY
                                                            : O_RDWR;
  return kernel.maps.add(std::move(*map), std::move(fd), access);
}

long map_lookup_elem(Kernel& kernel, bpf_attr& attr) {
  if ((attr.flags & ~static_cast<uint64_t>(BPF_F_LOCK)) != 0) return -EINVAL;
  const UserMap at = user_map(kernel, attr.map_fd, MapUse::read);
  if (at.error != 0) return at.error;
  if (locks_nothing(*at.map, attr.flags)) return -EINVAL;
  const uint8_t* key = nullptr;
  if (const int error = user_key(*at.map, attr.key, key); error != 0) return error;
  auto* value = user_pointer<uint8_t>(attr.value);
  std::vector<uint8_t> copy(at.map->user_value_size());
  if (at.map->spec().type == BPF_MAP_TYPE_BLOOM_FILTER) {
    if (value == nullptr) return -EFAULT;
    std::copy_n(value, copy.size(), copy.begin());
  }
  if (const int error = at.map->user_lookup(key, copy.data(), attr.flags); error != 0) return error;
  if (value == nullptr) return -EFAULT;
  std::copy(copy.begin(), copy.end(), value);
  return 0;
}

long map_update_elem(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, MapUse::write);
  if (at.error != 0) return at.error;
  if (locks_nothing(*at.map, attr.flags)) return -EINVAL;
  const uint8_t* key = nullptr;
  if (const int error = user_key(*at.map, attr.key, key); error != 0) return error;
  const auto* value = user_pointer<const uint8_t>(attr.value);
  if (value == nullptr && has_value_face(*at.map)) return -EFAULT;
  return at.map->user_update(key, value, attr.flags);
}

long map_delete_elem(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, MapUse::write);
  if (at.error != 0) return at.error;
  const uint8_t* key = nullptr;
  if (const int error = user_key(*at.map, attr.key, key); error != 0) return error;
  return at.map->user_erase(key);
}

long map_lookup_and_delete_elem(Kernel& kernel, bpf_attr& attr) {
  if ((attr.flags & ~static_cast<uint64_t>(BPF_F_LOCK)) != 0) return -EINVAL;
  const UserMap at = user_map(kernel, attr.map_fd, MapUse::read_and_write);
  if (at.error != 0) return at.error;
  if (locks_nothing(*at.map, attr.flags)) return -EINVAL;
  const uint8_t* key = nullptr;
  if (const int error = user_key(*at.map, attr.key, key); error != 0) return error;
  auto* value = user_pointer<uint8_t>(attr.value);
  std::vector<uint8_t> copy(at.map->user_value_size());
  if (const int error = at.map->user_lookup_and_delete(key, copy.data(), attr.flags); error != 0)
    return error;
  if (value == nullptr) return -EFAULT;
  std::copy(copy.begin(), copy.end(), value);
  return 0;
}

long map_get_next_key(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, MapUse::read);
  if (at.error != 0) return at.error;
  auto* next = user_pointer<uint8_t>(attr.next_key);
  std::vector<uint8_t> copy(at.map->spec().key_size);
  const int error = at.map->next_key(user_pointer<const uint8_t>(attr.key), copy.data());
  if (error != 0) return error;
  if (next == nullptr) return -EFAULT;
  std::copy(copy.begin(), copy.end(), next);
  return 0;
}

long map_freeze(Kernel& kernel, bpf_attr& attr) {
  const UserMap at = user_map(kernel, attr.map_fd, MapUse::write);
  if (at.error != 0) return at.error;
  at.map->frozen = true;
  return 0;
}

int map_info(bpf_attr& attr, const Map& map) {
  bpf_map_info info{};
  const MapSpec& spec = map.spec();
  info.type = spec.type;
  info.id = map.id;
  info.key_size = spec.key_size;
  info.value_size = spec.value_size;
  info.max_entries = spec.max_entries;
  info.map_flags = spec.flags;
  info.map_extra = spec.map_extra;
  fill_name(info.name, spec.name);
  if (map.btf != nullptr) {
    info.btf_id = map.btf->id;
    info.btf_key_type_id = spec.btf_key_type_id;
    info.btf_value_type_id = spec.btf_value_type_id;
  }
  return copy_info_out(attr, info);
}

}  // namespace xnic::vm
