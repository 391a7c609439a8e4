// Test: tests/vm/event_reader_test.cpp, through libbpf's readers.
#include "vm/wakeup.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace xnic::vm {

Wakeup::~Wakeup() {
  if (fd_ >= 0) close(fd_);
}

int Wakeup::fd() {
  if (const int known = fd_; known >= 0) return known;
  const int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (made < 0) return -errno;
  int none = -1;
  if (fd_.compare_exchange_strong(none, made)) return made;
  close(made);
  return none;
}

void Wakeup::notify() {
  if (const int fd = fd_; fd >= 0) eventfd_write(fd, 1);
}

void Wakeup::clear() {
  eventfd_t count;
  if (const int fd = fd_; fd >= 0) eventfd_read(fd, &count);
}

}  // namespace xnic::vm
