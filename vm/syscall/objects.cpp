// bpf(2): what all kinds of objects share: ids, info, pins. Objects that nothing refers to are
// dropped when ids are listed or looked up, since nobody tells of a close().
// Test: tests/vm/syscall_lifetime_test.cpp, tests/vm/syscall_pin_test.cpp.
#include <linux/limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <filesystem>

#include "vm/syscall/commands.h"
#include "vm/syscall/user_memory.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kAccessFlags = BPF_F_RDONLY | BPF_F_WRONLY;

// The access that BPF_F_RDONLY and BPF_F_WRONLY ask for; -EINVAL for both.
int access_of(uint32_t flags) {
  switch (flags & kAccessFlags) {
    case 0:
      return O_RDWR;
    case BPF_F_RDONLY:
      return O_RDONLY;
    case BPF_F_WRONLY:
      return O_WRONLY;
    default:
      return -EINVAL;
  }
}

template <class T>
long next_id(Kernel& kernel, const ObjectTable<T>& objects, bpf_attr& attr) {
  kernel.collect();
  const uint32_t id = objects.next_id(attr.start_id);
  if (id == 0) return -ENOENT;
  attr.next_id = id;
  return 0;
}

// The path of BPF_OBJ_PIN and BPF_OBJ_GET, absolute; 0 or -errno.
int pin_path(const bpf_attr& attr, std::string& path) {
  const auto path_fd = uapi::read<int32_t>(attr, uapi::kObjPathFd);
  const bool has_fd = (attr.file_flags & uapi::kPathFd) != 0;
  if (!has_fd && path_fd != 0) return -EINVAL;
  const auto* given = user_pointer<const char>(attr.pathname);
  if (given == nullptr) return -EFAULT;
  path.assign(given, strnlen(given, PATH_MAX));
  if (path.size() == PATH_MAX) return -ENAMETOOLONG;
  if (path.empty()) return -ENOENT;
  if (path.front() != '/' && has_fd && path_fd != AT_FDCWD) {
    std::error_code error;
    const auto folder =
        std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", path_fd), error);
    if (error) return -EBADF;
    path = (folder / path).string();
  }
  return 0;
}

// What Linux answers to a pin outside of bpffs: nothing is made there.
int pin_outside(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) return -EEXIST;
  if (errno != ENOENT) return -errno;
  const std::string parent = std::filesystem::absolute(path).parent_path().string();
  if (stat(parent.c_str(), &status) != 0) return -errno;
  return S_ISDIR(status.st_mode) ? -EPERM : -ENOTDIR;
}

int get_outside(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) != 0 ? -errno : -EACCES;
}

}  // namespace

long obj_get_info_by_fd(Kernel& kernel, bpf_attr& attr) {
  const auto fd = static_cast<int>(attr.info.bpf_fd);
  if (const auto map = kernel.maps.by_fd(fd)) return map_info(attr, *map);
  if (const auto program = kernel.programs.by_fd(fd)) return prog_info(attr, *program);
  if (const auto btf = kernel.btfs.by_fd(fd)) return btf_info(attr, *btf);
  if (const auto link = kernel.links.by_fd(fd)) return link_info(attr, *link);
  return file_id(fd) == FileId{} ? -EBADFD : -EINVAL;
}

long prog_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k, k.programs, attr); }
long map_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k, k.maps, attr); }
long btf_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k, k.btfs, attr); }
long link_get_next_id(Kernel& k, bpf_attr& attr) { return next_id(k, k.links, attr); }

long prog_get_fd_by_id(Kernel& k, bpf_attr& attr) {
  k.collect();
  return k.programs.open(attr.prog_id);
}
long map_get_fd_by_id(Kernel& k, bpf_attr& attr) {
  if ((attr.open_flags & ~kAccessFlags) != 0) return -EINVAL;
  const int access = access_of(attr.open_flags);
  if (access < 0) return access;
  k.collect();
  return k.maps.open(attr.map_id, access);
}
long btf_get_fd_by_id(Kernel& k, bpf_attr& attr) {
  k.collect();
  return k.btfs.open(attr.btf_id);
}
long link_get_fd_by_id(Kernel& k, bpf_attr& attr) {
  k.collect();
  return k.links.open(attr.link_id);
}

long obj_pin(Kernel& kernel, bpf_attr& attr) {
  if ((attr.file_flags & ~uapi::kPathFd) != 0) return -EINVAL;
  const auto fd = static_cast<int>(attr.bpf_fd);
  Pinned object;
  if (const auto map = kernel.maps.by_fd(fd)) {
    object = map;
  } else if (const auto program = kernel.programs.by_fd(fd)) {
    object = program;
  } else if (const auto link = kernel.links.by_fd(fd)) {
    object = link;
  } else {
    return -EINVAL;
  }
  std::string path;
  if (const int error = pin_path(attr, path); error != 0) return error;
  const std::string inside = Bpffs::inside(path);
  return inside.empty() ? pin_outside(path) : kernel.bpffs.pin(inside, std::move(object));
}

long obj_get(Kernel& kernel, bpf_attr& attr) {
  if (attr.bpf_fd != 0 || (attr.file_flags & ~(kAccessFlags | uapi::kPathFd)) != 0) return -EINVAL;
  if ((attr.file_flags & uapi::kPathFd) == 0 && uapi::read<uint32_t>(attr, uapi::kObjPathFd) != 0) {
    return -EINVAL;
  }
  const int access = access_of(attr.file_flags);
  if (access < 0) return access;
  std::string path;
  if (const int error = pin_path(attr, path); error != 0) return error;
  const std::string inside = Bpffs::inside(path);
  if (inside.empty()) return get_outside(path);
  Pinned object;
  if (const int error = kernel.bpffs.get(inside, object); error != 0) return error;
  if (const auto* map = std::get_if<std::shared_ptr<Map>>(&object)) {
    return kernel.maps.open((*map)->id, access);
  }
  if (const auto* program = std::get_if<std::shared_ptr<Program>>(&object)) {
    return kernel.programs.open((*program)->id);
  }
  if (access != O_RDWR) return -EINVAL;
  return kernel.links.open(std::get<std::shared_ptr<Link>>(object)->id);
}

// Perf events and raw tracepoints, of which this tells, do not exist here.
long task_fd_query(Kernel&, bpf_attr& attr) {
  if (attr.task_fd_query.flags != 0) return -EINVAL;
  const std::string process = fmt::format("/proc/{}", attr.task_fd_query.pid);
  struct stat status {};
  if (attr.task_fd_query.pid == 0 || stat(process.c_str(), &status) != 0) return -ENOENT;
  const std::string file = fmt::format("{}/fd/{}", process, attr.task_fd_query.fd);
  return lstat(file.c_str(), &status) != 0 ? -EBADF : -kErrorNotSupported;
}

}  // namespace xnic::vm
