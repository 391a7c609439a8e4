#include "nic/descriptor_cache.h"

#include <gtest/gtest.h>

namespace xnic::nic {
namespace {

Pcie link() { return Pcie(load_profile("generic-100g").value()); }

TEST(DescriptorCache, WhatIsPostedAtTheStartIsThere) {
  DescriptorCache cache(16, 4, 16, 10);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(cache.take(), 0u);
  EXPECT_EQ(cache.held(), 0u);
}

// One read for each batch, and never more descriptors than were posted or fit.
TEST(DescriptorCache, FetchesBatchesAsThereIsRoom) {
  Pcie pcie = link();
  DescriptorCache cache(16, 4, 16, 100);
  EXPECT_EQ(cache.held(), 16u);
  for (int i = 0; i < 3; ++i) cache.take();
  cache.fetch(0, 97, pcie);
  EXPECT_EQ(pcie.to_nic().served, 0u);  // room for three
  cache.take();
  cache.fetch(0, 96, pcie);
  EXPECT_EQ(pcie.to_nic().served, 1u);
  EXPECT_EQ(cache.held(), 16u);
  for (int i = 0; i < 16; ++i) cache.take();
  cache.fetch(0, 6, pcie);
  EXPECT_EQ(cache.held(), 4u);  // the other two wait for two more
}

TEST(DescriptorCache, TheLastOnesAreFetchedWhereNoneIsLeft) {
  Pcie pcie = link();
  DescriptorCache cache(16, 4, 16, 1);
  cache.take();
  cache.fetch(1000, 1, pcie);
  EXPECT_EQ(cache.held(), 1u);
  // A read over PCIe takes 598.9 ns and what is on the wire.
  EXPECT_NEAR(static_cast<double>(cache.take()), 599'900, 10'000);
}

}  // namespace
}  // namespace xnic::nic
