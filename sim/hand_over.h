#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "nic/port.h"

namespace xnic::sim {

// Frames that one thread leaves to another: one puts them in, one takes them out.
class HandOver {
 public:
  struct Item {
    nic::PortFrame* frame;
    size_t port;
  };

  // False when there is no room.
  bool put(const Item& item) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == kItems) return false;
    items_[tail % kItems] = item;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  std::optional<Item> take() {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
    const Item item = items_[head % kItems];
    head_.store(head + 1, std::memory_order_release);
    return item;
  }

 private:
  static constexpr uint64_t kItems = 2048;

  std::array<Item, kItems> items_{};
  alignas(64) std::atomic<uint64_t> head_ = 0;
  alignas(64) std::atomic<uint64_t> tail_ = 0;
};

}  // namespace xnic::sim
