// bpf(2): making maps, and their elements one at a time. kernel/bpf/syscall.c was read for the
// order of checks and their errno. Left out: maps of a device, tokens.
// Test: tests/vm/syscall_test.cpp.
#include "vm/btf.h"
#include "vm/syscall/commands.h"
#include "vm/syscall/user_map.h"
#include "vm/syscall/user_memory.h"

namespace xnic::vm {
namespace {

// The map and the key of a command on one element.
struct ElementRequest {
  std::shared_ptr<Map> map;
  const uint8_t* key = nullptr;  // null for maps without keys, which want none
  int error = 0;
};
ElementRequest user_element(Kernel& kernel, const bpf_attr& attr, MapUse use) {
  auto [map, error] = user_map(kernel, attr.map_fd, use);
  if (error != 0) return {nullptr, nullptr, error};
  const bool keyed = map->spec().key_size != 0;
  if ((attr.flags & BPF_F_LOCK) != 0 && !map->spec().fields.has_spin_lock()) {
    error = -EINVAL;
  } else if (!keyed && attr.key != 0) {
    error = -EINVAL;
  } else if (keyed && attr.key == 0) {
    error = -EFAULT;
  }
  return {std::move(map), user_pointer<const uint8_t>(attr.key), error};
}

// Both lookups: `take` of Map copies a value out.
long copy_value(Kernel& kernel, const bpf_attr& attr, MapUse use,
                int (Map::*take)(const uint8_t*, uint8_t*, uint64_t)) {
  if ((attr.flags & ~static_cast<uint64_t>(BPF_F_LOCK)) != 0) return -EINVAL;
  const ElementRequest at = user_element(kernel, attr, use);
  if (at.error != 0) return at.error;
  auto* value = user_pointer<uint8_t>(attr.value);
  std::vector<uint8_t> copy(at.map->user_value_size());
  if (at.map->spec().type == BPF_MAP_TYPE_BLOOM_FILTER) {
    if (value == nullptr) return -EFAULT;
    std::copy_n(value, copy.size(), copy.begin());
  }
  if (const int error = ((*at.map).*take)(at.key, copy.data(), attr.flags); error != 0)
    return error;
  if (value == nullptr) return -EFAULT;
  std::copy(copy.begin(), copy.end(), value);
  return 0;
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
  const bool is_struct_ops = attr.map_type == BPF_MAP_TYPE_STRUCT_OPS;
  if ((attr.btf_vmlinux_value_type_id != 0) != is_struct_ops) return -EINVAL;
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
    if (const int error = check_map_btf(btf, spec); error != 0) return error;
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
  return copy_value(kernel, attr, MapUse::read, &Map::user_lookup);
}

long map_lookup_and_delete_elem(Kernel& kernel, bpf_attr& attr) {
  return copy_value(kernel, attr, MapUse::read_and_write, &Map::user_lookup_and_delete);
}

long map_update_elem(Kernel& kernel, bpf_attr& attr) {
  const ElementRequest at = user_element(kernel, attr, MapUse::write);
  if (at.error != 0) return at.error;
  const auto* value = user_pointer<const uint8_t>(attr.value);
  if (value == nullptr && at.map->spec().value_size != 0) return -EFAULT;
  return at.map->user_update(at.key, value, attr.flags);
}

long map_delete_elem(Kernel& kernel, bpf_attr& attr) {
  const ElementRequest at = user_element(kernel, attr, MapUse::write);
  return at.error != 0 ? at.error : at.map->user_erase(at.key);
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
  if (at.map != nullptr && !at.map->spec().fields.empty()) return -kErrorNotSupported;
  if (at.error != 0) return at.error;
  if (kernel.maps.is_mapped_for_writing(at.map->id)) return -EBUSY;
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
