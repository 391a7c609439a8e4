#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "nic/transit.h"

namespace xnic::nic {

// Which of the packets that wait in the card for a port's wire goes next.
enum class TxPolicy : uint8_t {
  fifo,         // the one that came first
  round_robin,  // the transmit queues in turn, a packet each
  strict,       // that of the transmit queue with the lowest number
};
// As transmit.scheduler of profiles has them.
inline constexpr std::array<std::string_view, 3> kTxPolicies = {"fifo", "round_robin", "strict"};

// The packets that wait for one port, by transmit queue.
// It leaves out weights, rates, and a limit to how many wait.
// Test: tests/nic/tx_scheduler_test.cpp.
class TxScheduler {
 public:
  TxScheduler(TxPolicy policy, uint32_t queues)
      : policy_(policy), lines_(policy == TxPolicy::fifo ? 1 : queues) {}

  void add(uint32_t queue, std::unique_ptr<Transit> transit) {
    lines_[policy_ == TxPolicy::fifo ? 0 : queue].push_back(std::move(transit));
  }
  // Null if none waits.
  std::unique_ptr<Transit> next() {
    const size_t first = policy_ == TxPolicy::round_robin ? turn_ : 0;
    for (size_t i = 0; i < lines_.size(); ++i) {
      const size_t queue = (first + i) % lines_.size();
      if (lines_[queue].empty()) continue;
      auto transit = std::move(lines_[queue].front());
      lines_[queue].pop_front();
      turn_ = (queue + 1) % lines_.size();
      return transit;
    }
    return nullptr;
  }

 private:
  TxPolicy policy_;
  std::vector<std::deque<std::unique_ptr<Transit>>> lines_;
  size_t turn_ = 0;  // whose turn it is
};

}  // namespace xnic::nic
