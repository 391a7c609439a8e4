#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <compare>
#include <map>
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
  // `access` is O_RDWR, O_RDONLY or O_WRONLY: what its holder may do to the object.
  int duplicate(int access = O_RDWR) const;
  // How often this process has the memfd mapped; counted only where it has a size.
  size_t mappings() const;

 private:
  int fd_ = -1;
  FileId file_;
};

// Which files this process has open and mapped at the time of asking, from /proc/self. Where there
// is no /proc, every file counts as held.
class OpenFiles {
 public:
  OpenFiles();
  // Whether a descriptor other than `fd` itself, or a mapping beyond `own_mappings`, refers to it.
  bool holds(const ObjectFd& fd, size_t own_mappings) const;
  bool holds(FileId file) const { return !known_ || descriptors_.contains(file); }
  size_t mappings(FileId file) const;
  size_t writable_mappings(FileId file) const;

 private:
  bool known_ = false;
  std::map<FileId, size_t> descriptors_;
  std::map<FileId, size_t> mappings_;
  std::map<FileId, size_t> writable_mappings_;
};

}  // namespace xnic::vm
