#pragma once

#include <atomic>
#include <cstdint>

namespace xnic::vm {

// Lets a writer take away what other threads may be running, such as the program in a slot of a
// prog_array, without costing them anything but two plain stores: read-copy-update, as Linux calls
// it. Threads need not be announced. Test: tests/vm/grace_test.cpp.

namespace grace_detail {

// A thread, as those who wait see it.
struct Reader {
  std::atomic<uint64_t> turns{0};  // into and out of its outermost sections: odd while in one
  bool has_barrier = false;        // the writer has none
};

inline constinit thread_local Reader* own = nullptr;  // the thread's, once it needs one
Reader& make_own();

}  // namespace grace_detail

// While it lives, what this thread finds stays. Sections nest.
class GraceSection {
 public:
  GraceSection()
      : reader_(grace_detail::own != nullptr ? *grace_detail::own : grace_detail::make_own()),
        turns_(reader_.turns.load(std::memory_order_relaxed)) {
    if (is_nested()) [[unlikely]]
      return;
    reader_.turns.store(turns_ + 1, std::memory_order_relaxed);
    // Orders the store with the loads that follow.
    if (reader_.has_barrier) [[unlikely]] {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    } else {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
  }
  ~GraceSection() {
    if (!is_nested()) [[likely]]
      reader_.turns.store(turns_ + 2, std::memory_order_release);
  }
  GraceSection(const GraceSection&) = delete;
  GraceSection& operator=(const GraceSection&) = delete;

 private:
  bool is_nested() const { return turns_ % 2 != 0; }

  grace_detail::Reader& reader_;
  uint64_t turns_;  // when it began
};

// Returns when every section that any thread was in has ended: nobody can hold any more what was
// taken away before the call. False, at once, where this thread itself is in one.
bool wait_for_grace();

}  // namespace xnic::vm
