#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace xnic::vm {

// A lock for a few dozen instructions at most: one atomic exchange to take, a store to give back.
// A waiter that has to wait long lets others run.
class SpinLock {
 public:
  void lock() {
    while (taken_.exchange(true, std::memory_order_acquire)) {
      for (uint32_t spins = 0; taken_.load(std::memory_order_relaxed); ++spins)
        if (spins >= kSpins) std::this_thread::yield();
    }
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

 private:
  static constexpr uint32_t kSpins = 128;
  std::atomic<bool> taken_ = false;
};

}  // namespace xnic::vm
