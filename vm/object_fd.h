#pragma once

#include <sys/types.h>

#include <compare>
#include <string>

namespace xnic::vm {

// The file behind a descriptor; all zero if it is closed.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  auto operator<=>(const FileId&) const = default;
};
FileId file_id(int fd);

// A memfd that stands for one kernel object. Descriptors of BPF objects must be real ones, since
// libbpf dups, mmaps and closes them; the inode leads from any of them back to the object.
class ObjectFd {
 public:
  ObjectFd() = default;
  // Throws std::system_error where the process has no descriptor left.
  explicit ObjectFd(const std::string& name);
  ~ObjectFd();
  ObjectFd(ObjectFd&& other) noexcept;
  ObjectFd& operator=(ObjectFd&& other) noexcept;

  int fd() const { return fd_; }
  FileId file() const { return file_; }
  // A new close-on-exec descriptor of the same memfd, for user space; -errno if there is none left.
  int duplicate() const;

 private:
  int fd_ = -1;
  FileId file_;
};

}  // namespace xnic::vm
