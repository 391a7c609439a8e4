#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "nic/transit.h"

namespace xnic::nic {

// Which of the packets that wait in the card for a port's wire goes next.
enum class TxPolicy : uint8_t {
  fifo,                  // the one that came first
  round_robin,           // the transmit queues in turn, a packet each
  strict,                // that of the transmit queue with the lowest number
  weighted_round_robin,  // the transmit queues in turn, as many packets each as its weight says
};
// As transmit.scheduler of profiles has them.
inline constexpr std::array<std::string_view, 4> kTxPolicies = {"fifo", "round_robin", "strict",
                                                                "weighted_round_robin"};

// The packets that wait for one port, by transmit queue.
// It leaves out rates, sizes of packets, and a limit to how many wait.
// Test: tests/nic/tx_scheduler_test.cpp.
class TxScheduler {
 public:
  // `weights`: packets of a turn, of queue 0, 1 and so on, and from the first on again; at least 1.
  TxScheduler(TxPolicy policy, uint32_t queues, std::span<const double> weights = {})
      : policy_(policy), lines_(policy == TxPolicy::fifo ? 1 : queues) {
    if (policy != TxPolicy::weighted_round_robin) return;
    for (size_t i = 0; i < lines_.size(); ++i) {
      lines_[i].weight = static_cast<uint32_t>(weights[i % weights.size()]);
    }
  }

  void add(uint32_t queue, std::unique_ptr<Transit> transit) {
    lines_[policy_ == TxPolicy::fifo ? 0 : queue].packets.push_back(std::move(transit));
  }
  // Null if none waits.
  std::unique_ptr<Transit> next() {
    const size_t first = policy_ == TxPolicy::strict ? 0 : turn_;
    for (size_t i = 0; i < lines_.size(); ++i) {
      const size_t queue = (first + i) % lines_.size();
      Line& line = lines_[queue];
      if (line.packets.empty()) continue;
      auto transit = std::move(line.packets.front());
      line.packets.pop_front();
      if (queue != turn_) sent_ = 0;
      turn_ = queue;
      // Its turn ends with its weight, or when it has no more.
      if (++sent_ >= line.weight || line.packets.empty()) {
        sent_ = 0;
        turn_ = (queue + 1) % lines_.size();
      }
      return transit;
    }
    return nullptr;
  }

 private:
  struct Line {
    std::deque<std::unique_ptr<Transit>> packets{};
    uint32_t weight = 1;  // packets of a turn
  };

  TxPolicy policy_;
  std::vector<Line> lines_;
  size_t turn_ = 0;    // whose turn it is
  uint32_t sent_ = 0;  // of that turn
};

}  // namespace xnic::nic
