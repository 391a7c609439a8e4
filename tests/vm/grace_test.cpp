#include "vm/grace.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace xnic::vm {
namespace {

// What readers look at; its destructor marks it, so that a reader who still looks can tell.
struct Thing {
  std::atomic<uint32_t> alive{1};
};

TEST(Grace, KeepsWhatReadersFoundUntilTheyAreThrough) {
  constexpr uint32_t kThings = 30;
  std::vector<Thing> things(kThings);
  std::atomic<Thing*> current{things.data()};
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0};
  std::atomic<uint64_t> dead{0};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const GraceSection section;
        const Thing* thing = current.load(std::memory_order_relaxed);
        for (int turn = 0; turn < 20; ++turn) dead += 1 - thing->alive.load();
        ++looks;
      }
    });
  }
  while (looks < 100) std::this_thread::yield();
  for (uint32_t i = 1; i < kThings; ++i) {
    Thing* before = current.exchange(&things[i]);
    EXPECT_TRUE(wait_for_grace());
    before->alive = 0;
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(dead, 0u);
}

TEST(Grace, DoesNotWaitForTheThreadThatAsks) {
  const GraceSection outer;
  {
    const GraceSection inner;
    EXPECT_FALSE(wait_for_grace());
  }
  EXPECT_FALSE(wait_for_grace());
}

TEST(Grace, ForgetsThreadsThatEnded) {
  std::thread([] { const GraceSection section; }).join();
  EXPECT_TRUE(wait_for_grace());
}

}  // namespace
}  // namespace xnic::vm
