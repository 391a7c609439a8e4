#include "vm/object_fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

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

int ObjectFd::duplicate() const {
  // libbpf keeps away from 0, 1 and 2 too: it takes 0 for "no descriptor".
  const int copy = fcntl(fd_, F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? -errno : copy;
}

FileId file_id(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return {};
  return {status.st_dev, status.st_ino};
}

}  // namespace xnic::vm
