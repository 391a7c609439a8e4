// What libbpf's ring_buffer and perf_buffer ask of the host, apart from bpf(2). The linker leads
// these calls here (--wrap, in vm/CMakeLists.txt), from libbpf and from all of this program.
// A ring buffer is readable as long as something is unread; a perf event once for each wake-up,
// hence edge-triggered.
// What it leaves out: poll(2), select(2) and read(2) on these descriptors.
// Test: tests/vm/event_reader_test.cpp.
#include "vm/host_calls.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "vm/maps/ringbuf.h"
#include "vm/syscall.h"
#include "vm/syscall/user_memory.h"

extern "C" {
int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
int __real_epoll_wait(int epoll, epoll_event* events, int room, int timeout);
int __real_ioctl(int fd, unsigned long request, ...);
void* __real_mmap(void* address, size_t length, int protection, int flags, int fd, off_t offset);
void* __real_mmap64(void* address, size_t length, int protection, int flags, int fd,
                    off64_t offset);
}

namespace xnic::vm {
namespace {

// A reader's descriptor in the kernel in scope: at most one of the two is there.
struct Source {
  std::shared_ptr<Map> map;  // keeps `ring` alive
  RingBuffer* ring = nullptr;
  std::shared_ptr<PerfEvent> event;
};

Source source_of(int fd) {
  Source source;
  Kernel* kernel = KernelScope::current();
  if (kernel == nullptr || fd < 0) return source;
  source.map = kernel->map_by_fd(fd);
  if (source.map != nullptr) {
    source.ring = RingBuffer::of(*source.map);
  } else {
    source.event = kernel->perf_event_by_fd(fd);
  }
  return source;
}

constexpr uint64_t kPage = 4096;

// Making a perf event's ring maps its memfd, too.
thread_local bool inside_mmap = false;

// The checks of all maps, in Linux's order.
int check_map_mmap(const Map& map, size_t length, int protection, int flags, int fd, off_t offset) {
  const bool writes = (protection & PROT_WRITE) != 0;
  const bool shared = (flags & MAP_SHARED) != 0;
  const auto user_fd = static_cast<uint32_t>(fd);
  if (!may_access(user_fd, false) || (shared && writes && !may_access(user_fd, true))) {
    return -EACCES;
  }
  const uint64_t bytes = (length + kPage - 1) / kPage * kPage;
  const int answer = map.check_mmap(bytes, protection, static_cast<uint64_t>(offset));
  if (answer == -kErrorNotSupported || !map.spec().fields.empty()) return -kErrorNotSupported;
  // Linux does not count a mapping as shared that could never be written.
  if (!shared || !may_access(user_fd, true)) return -EINVAL;
  if (writes && map.frozen) return -EPERM;
  if (writes && (map.spec().flags & BPF_F_RDONLY_PROG) != 0) return -EACCES;
  return answer;
}

// What mmap must answer before the memfd is mapped: 0 or -errno.
int prepare_mmap(size_t length, int protection, int flags, int fd, off_t offset) {
  if (inside_mmap) return 0;
  const Source source = source_of(fd);
  if (source.map != nullptr) {
    return check_map_mmap(*source.map, length, protection, flags, fd, offset);
  }
  if (source.event == nullptr) return 0;
  if ((flags & MAP_SHARED) == 0) return -EINVAL;
  if (offset != 0) return -EINVAL;
  inside_mmap = true;
  const int error = source.event->map_ring(length);
  inside_mmap = false;
  return error;
}

int fail_with(int error) {
  errno = -error;
  return -1;
}

}  // namespace

long perf_event_open(Kernel& kernel, const perf_event_attr* attributes, int cpu) {
  if (attributes == nullptr) return -EFAULT;
  const size_t size = attributes->size != 0 ? attributes->size : size_t{PERF_ATTR_SIZE_VER0};
  if (size < PERF_ATTR_SIZE_VER0) return -E2BIG;
  perf_event_attr copy{};
  std::memcpy(&copy, attributes, std::min(size, sizeof copy));
  ObjectFd fd("perf-event");
  auto event = PerfEvent::open(copy, cpu, fd.fd());
  return event ? kernel.perf_events.add(std::move(*event), std::move(fd)) : event.error();
}

}  // namespace xnic::vm

using xnic::vm::fail_with;
using xnic::vm::source_of;

extern "C" int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  const auto source = source_of(fd);
  if (source.ring == nullptr && source.event == nullptr) {
    return __real_epoll_ctl(epoll, operation, fd, event);
  }
  auto& wakeup = source.ring != nullptr ? source.ring->wakeup() : source.event->wakeup();
  const int stand_in = wakeup.fd();
  if (stand_in < 0) return fail_with(stand_in);
  if (source.ring != nullptr) {
    if (source.ring->has_unread()) wakeup.notify();
    return __real_epoll_ctl(epoll, operation, stand_in, event);
  }
  epoll_event edge{};
  if (event != nullptr) edge = *event;
  edge.events |= EPOLLET;
  return __real_epoll_ctl(epoll, operation, stand_in, &edge);
}

extern "C" int __wrap_epoll_wait(int epoll, epoll_event* events, int room, int timeout) {
  if (xnic::vm::Kernel* kernel = xnic::vm::KernelScope::current(); kernel != nullptr) {
    kernel->maps.for_each([](xnic::vm::Map& map) {
      auto* ring = xnic::vm::RingBuffer::of(map);
      if (ring != nullptr && !ring->has_unread()) ring->wakeup().clear();
    });
  }
  return __real_epoll_wait(epoll, events, room, timeout);
}

extern "C" int __wrap_ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  const auto source = source_of(fd);
  if (source.event == nullptr) return __real_ioctl(fd, request, argument);
  switch (request) {
    case PERF_EVENT_IOC_ENABLE:
    case PERF_EVENT_IOC_DISABLE:
      source.event->enable(request == PERF_EVENT_IOC_ENABLE);
      return 0;
    case PERF_EVENT_IOC_RESET:
      return 0;
    default:
      return fail_with(-ENOTTY);
  }
}

extern "C" void* __wrap_mmap(void* address, size_t length, int protection, int flags, int fd,
                             off_t offset) {
  if (const int error = xnic::vm::prepare_mmap(length, protection, flags, fd, offset); error != 0) {
    fail_with(error);
    return MAP_FAILED;
  }
  return __real_mmap(address, length, protection, flags, fd, offset);
}

extern "C" void* __wrap_mmap64(void* address, size_t length, int protection, int flags, int fd,
                               off64_t offset) {
  if (const int error = xnic::vm::prepare_mmap(length, protection, flags, fd, offset); error != 0) {
    fail_with(error);
    return MAP_FAILED;
  }
  return __real_mmap64(address, length, protection, flags, fd, offset);
}
