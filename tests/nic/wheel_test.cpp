#include "nic/wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

namespace xnic::nic {
namespace {

TEST(Wheel, RunsTasksInOrderOfTimeAndThoseOfOneTimeInOrderOfAsking) {
  ASSERT_TRUE(prepare_systemc());
  Wheel wheel("wheel");
  std::mt19937 random(3);
  std::vector<std::pair<Picoseconds, int>> expected;
  std::vector<std::pair<Picoseconds, int>> ran;
  for (int i = 0; i < 1000; ++i) {
    const auto task = wheel.add([&, i] { ran.emplace_back(wheel.now(), i); });
    const Picoseconds time = random() % 50 * 1'000'000'000'000ull;
    wheel.at(time, task);
    expected.emplace_back(time, i);
  }
  std::stable_sort(expected.begin(), expected.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  sc_core::sc_start();
  EXPECT_EQ(ran, expected);
  EXPECT_EQ(sc_core::sc_time_stamp().value(), expected.back().first);
}

TEST(Wheel, ATaskThatAsksForThePastRunsNow) {
  ASSERT_TRUE(prepare_systemc());
  Wheel wheel("wheel");
  std::vector<Picoseconds> times;
  const auto second = wheel.add([&] { times.push_back(wheel.now()); });
  wheel.at(500, wheel.add([&] { wheel.at(100, second); }));
  sc_core::sc_start();
  EXPECT_EQ(times, std::vector<Picoseconds>{500});
}

TEST(Wheel, APastTheEndOfTimeDeadlineEndsTheRunInsteadOfWrapping) {
  ASSERT_TRUE(prepare_systemc());
  Wheel wheel("wheel");
  int ran = 0;
  const auto task = wheel.add([&] { ++ran; });
  wheel.at(kEndOfTime - 1, wheel.add([&] {
    wheel.at(kEndOfTime + 1, task);
    wheel.at(wheel.now(), task);
  }));
  sc_core::sc_start();
  EXPECT_EQ(ran, 0);
  EXPECT_TRUE(wheel.out_of_time());
}

TEST(Wheel, AProcessThatHasSimulatedCanNotBeginAgain) {
  ASSERT_TRUE(prepare_systemc());
  Wheel wheel("wheel");
  wheel.at(1, wheel.add([] {}));
  sc_core::sc_start();
  EXPECT_FALSE(prepare_systemc());
}

}  // namespace
}  // namespace xnic::nic
