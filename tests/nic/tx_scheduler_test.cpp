#include "nic/tx_scheduler.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

// Three packets of queue 1, then two of queue 0 and one of queue 2: the queues in the order in
// which they leave.
std::vector<uint32_t> order_of(TxPolicy policy, const std::vector<double>& weights = {1}) {
  TxScheduler scheduler(policy, 3, weights);
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

TEST(TxScheduler, WeightsSayHowManyPacketsAQueueSendsInItsTurn) {
  constexpr auto kWeighted = TxPolicy::weighted_round_robin;
  EXPECT_EQ(order_of(kWeighted), order_of(TxPolicy::round_robin));
  EXPECT_EQ(order_of(kWeighted, {1, 2}), (Order{0, 1, 1, 2, 0, 1}));
  EXPECT_EQ(order_of(kWeighted, {9}), (Order{0, 0, 1, 1, 1, 2}));
}

TEST(TxScheduler, QueuesThatAlwaysHaveMoreShareTheWireByTheirWeights) {
  TxScheduler scheduler(TxPolicy::weighted_round_robin, 3, std::vector<double>{5, 1, 2});
  const auto add = [&](uint32_t queue) {
    auto transit = std::make_unique<Transit>();
    transit->tx_queue = queue;
    scheduler.add(queue, std::move(transit));
  };
  for (uint32_t queue = 0; queue < 3; ++queue) {
    for (int i = 0; i < 20; ++i) add(queue);
  }
  std::array<uint32_t, 3> sent{};
  for (int i = 0; i < 8 * 50; ++i) {
    const uint32_t queue = scheduler.next()->tx_queue;
    ++sent[queue];
    add(queue);
  }
  EXPECT_EQ(sent, (std::array<uint32_t, 3>{5 * 50, 50, 2 * 50}));
}

TEST(TxScheduler, StrictPrefersTheLowestQueue) {
  EXPECT_EQ(order_of(TxPolicy::strict), (Order{0, 0, 1, 1, 1, 2}));
}

}  // namespace
}  // namespace xnic::nic
