#pragma once

#include <atomic>

namespace xnic::vm {

// How user space is told of new records: an eventfd that stands in for the descriptor of a map or
// perf event, because epoll refuses the memfd behind it. It is made when first asked for.
class Wakeup {
 public:
  Wakeup() = default;
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  // The descriptor, or -errno. It stays this object's.
  int fd();
  // Makes the descriptor readable. Nothing happens where nobody asked for it.
  void notify();
  // Makes it unreadable again.
  void clear();

 private:
  std::atomic<int> fd_ = -1;
};

}  // namespace xnic::vm
