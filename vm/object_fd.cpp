#include "vm/object_fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace xnic::vm {

ObjectFd::ObjectFd(const std::string& name) : fd_(memfd_create(name.c_str(), MFD_CLOEXEC)) {
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "memfd_create");
  file_ = file_id(fd_);
}

ObjectFd::~ObjectFd() {
  if (fd_ >= 0) close(fd_);
}

ObjectFd::ObjectFd(ObjectFd&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), file_(std::exchange(other.file_, {})) {}

ObjectFd& ObjectFd::operator=(ObjectFd&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(file_, other.file_);
  return *this;
}

int ObjectFd::duplicate(int access) const {
  // libbpf keeps away from 0, 1 and 2 too: it takes 0 for "no descriptor".
  constexpr int kLowest = 3;
  int copy = -1;
  if (access == O_RDWR) {
    copy = fcntl(fd_, F_DUPFD_CLOEXEC, kLowest);
  } else {
    // Another access mode needs another open file.
    const int opened = open(fmt::format("/proc/self/fd/{}", fd_).c_str(), access | O_CLOEXEC);
    if (opened < 0 || opened >= kLowest) return opened < 0 ? -errno : opened;
    copy = fcntl(opened, F_DUPFD_CLOEXEC, kLowest);
    close(opened);
  }
  return copy < 0 ? -errno : copy;
}

size_t ObjectFd::mappings() const {
  struct stat status {};
  if (fstat(fd_, &status) != 0 || status.st_size == 0) return 0;
  return OpenFiles().mappings(file_);
}

OpenFiles::OpenFiles() {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc/self/fd"), closedir);
  std::ifstream maps("/proc/self/maps");
  if (folder == nullptr || !maps) return;
  known_ = true;
  while (const dirent* entry = readdir(folder.get())) {
    if (entry->d_name[0] == '.') continue;
    const FileId file = file_id(static_cast<int>(std::strtol(entry->d_name, nullptr, 10)));
    if (file != FileId{}) descriptors_[file]++;
  }
  std::string line;
  while (std::getline(maps, line)) {
    char rights[5] = {};  // "rw-s"
    unsigned major = 0;
    unsigned minor = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(), "%*s %4s %*s %x:%x %lu", rights, &major, &minor, &inode) == 4 &&
        inode != 0) {
      const FileId file{makedev(major, minor), inode};
      mappings_[file]++;
      if (rights[1] == 'w') writable_mappings_[file]++;
    }
  }
}

bool OpenFiles::holds(const ObjectFd& fd, size_t own_mappings) const {
  if (!known_) return true;
  const auto open = descriptors_.find(fd.file());
  return (open != descriptors_.end() && open->second > 1) || mappings(fd.file()) > own_mappings;
}

size_t OpenFiles::mappings(FileId file) const {
  const auto mapped = mappings_.find(file);
  return mapped == mappings_.end() ? 0 : mapped->second;
}

size_t OpenFiles::writable_mappings(FileId file) const {
  const auto mapped = writable_mappings_.find(file);
  return mapped == writable_mappings_.end() ? 0 : mapped->second;
}

FileId file_id(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

}  // namespace xnic::vm
