// Each thread counts how often it entered or left its outermost section: odd while it is inside.
// The order of its two plain stores with what it reads is made by the writer, whose membarrier(2)
// acts as a barrier in every running thread; where that does not exist, readers have one each.
#include "vm/grace.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace xnic::vm {
namespace {

using grace_detail::Reader;

int membarrier(int command) { return static_cast<int>(syscall(SYS_membarrier, command, 0, 0)); }

// The threads that were ever in a section and still live.
struct Readers {
  std::mutex mutex;
  std::vector<Reader*> all;
  const bool has_membarrier = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;

  static Readers& get() {
    static Readers readers;
    return readers;
  }
};

// A thread's own, entered when it first needs one.
struct OwnReader {
  Reader reader;
  OwnReader() {
    Readers& readers = Readers::get();
    reader.has_barrier = !readers.has_membarrier;
    const std::lock_guard lock(readers.mutex);
    readers.all.push_back(&reader);
  }
  ~OwnReader() {
    Readers& readers = Readers::get();
    const std::lock_guard lock(readers.mutex);
    std::erase(readers.all, &reader);
  }
};

}  // namespace

[[gnu::noinline]] Reader& grace_detail::make_own() {
  static thread_local OwnReader reader;
  own = &reader.reader;
  return *own;
}

bool wait_for_grace() {
  const Reader* const own = grace_detail::own;
  if (own != nullptr && own->turns.load(std::memory_order_relaxed) % 2 != 0) return false;
  Readers& readers = Readers::get();
  if (readers.has_membarrier) {
    membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  const std::lock_guard lock(readers.mutex);
  for (const Reader* reader : readers.all) {
    const uint64_t turns = reader->turns.load(std::memory_order_acquire);
    if (turns % 2 == 0) continue;
    while (reader->turns.load(std::memory_order_acquire) == turns) std::this_thread::yield();
  }
  return true;
}

}  // namespace xnic::vm
