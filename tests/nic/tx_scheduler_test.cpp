#include "nic/tx_scheduler.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

// Three packets of queue 1, then two of queue 0 and one of queue 2: the queues in the order in
// which they leave.
std::vector<uint32_t> order_of(TxPolicy policy) {
  TxScheduler scheduler(policy, 3);
  for (const uint32_t queue : {1, 1, 1, 0, 0, 2}) {
    auto transit = std::make_unique<Transit>();
    transit->tx_queue = queue;
    scheduler.add(queue, std::move(transit));
  }
  std::vector<uint32_t> order;
  while (const auto transit = scheduler.next()) order.push_back(transit->tx_queue);
  return order;
}

using Order = std::vector<uint32_t>;

TEST(TxScheduler, FifoKeepsTheOrder) {
  EXPECT_EQ(order_of(TxPolicy::fifo), (Order{1, 1, 1, 0, 0, 2}));
}

TEST(TxScheduler, RoundRobinTakesAPacketOfEachQueueInTurn) {
  EXPECT_EQ(order_of(TxPolicy::round_robin), (Order{0, 1, 2, 0, 1, 1}));
}

TEST(TxScheduler, StrictPrefersTheLowestQueue) {
  EXPECT_EQ(order_of(TxPolicy::strict), (Order{0, 0, 1, 1, 1, 2}));
}

}  // namespace
}  // namespace xnic::nic
