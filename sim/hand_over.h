#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace xnic::sim {

// What one thread leaves to another: one puts items in, one takes them out.
template <class Item>
class HandOver {
 public:
  static constexpr uint64_t kItems = 2048;

  // Moves the item in; false, and it stays where it is, when there is no room, or `most` wait.
  bool put(Item& item, uint64_t most = kItems) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) >= std::min(most, kItems)) return false;
    items_[tail % kItems] = std::move(item);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  std::optional<Item> take() {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
    std::optional<Item> item = std::move(items_[head % kItems]);
    head_.store(head + 1, std::memory_order_release);
    return item;
  }

 private:
  std::array<Item, kItems> items_{};
  alignas(64) std::atomic<uint64_t> head_ = 0;
  alignas(64) std::atomic<uint64_t> tail_ = 0;
};

}  // namespace xnic::sim
