#include "nic/host_memory.h"

#include <gtest/gtest.h>
#include <tlm_utils/simple_initiator_socket.h>

#include <cmath>

namespace xnic::nic {
namespace {

constexpr uint32_t kRoom = 1000;  // buffers of one line and a completion of one line

NicProfile small_cache() {
  NicProfile profile = load_profile("generic-100g").value();
  profile.ddio_kib.value = kRoom * 128 / 1024;
  return profile;
}

// Host memory, and a card that accesses it.
class Memory : public sc_core::sc_module {
 public:
  Memory(const sc_core::sc_module_name& name, uint32_t buffers)
      : sc_module(name), dma_("dma"), memory_("memory", small_cache(), buffers) {
    dma_.bind(memory_.socket);
  }
  HostMemory* operator->() { return &memory_; }
  void write(uint32_t buffer, uint32_t bytes) { access(tlm::TLM_WRITE_COMMAND, buffer, bytes); }
  // How much longer it takes than from a cache.
  Picoseconds read(uint32_t buffer, uint32_t bytes) {
    return access(tlm::TLM_READ_COMMAND, buffer, bytes);
  }

 private:
  Picoseconds access(tlm::tlm_command command, uint32_t buffer, uint32_t bytes) {
    tlm::tlm_generic_payload access;
    access.set_command(command);
    access.set_address(buffer * HostMemory::kBufferBytes);
    access.set_data_length(bytes);
    sc_core::sc_time delay;
    dma_->b_transport(access, delay);
    EXPECT_TRUE(access.is_response_ok());
    return delay.value();
  }

  tlm_utils::simple_initiator_socket<Memory> dma_;
  HostMemory memory_;
};

// Share of the packets that are in DRAM when a CPU reads them just before their buffers' next turn.
double misses(uint32_t buffers) {
  Memory memory(sc_core::sc_gen_unique_name("card"), buffers);
  constexpr uint32_t kTurns = 60;
  uint32_t missed = 0;
  for (uint32_t turn = 0; turn < kTurns; ++turn) {
    for (uint32_t buffer = 0; buffer < buffers; ++buffer) {
      if (turn >= kTurns / 2 && memory->cpu_miss(buffer) != 0) ++missed;
      memory.write(buffer, 60);
    }
  }
  return missed / (buffers * kTurns / 2.0);
}

TEST(HostMemory, BuffersThatFitAreNeverInDram) { EXPECT_EQ(misses(kRoom - 8), 0); }

// Where x times as many take turns as fit and any may have to go, a share m of them is gone when
// its turn comes, with 1 - m = exp(-x m): each of the x m writes that push one out spares it with
// the same probability.
TEST(HostMemory, OfBuffersThatDoNotFitRandomReplacementSparesAsManyAsItShould) {
  for (const double x : {1.3, 1.7, 2.1, 2.6}) {
    double m = 1;
    for (int i = 0; i < 1000; ++i) m = 1 - std::exp(-x * m);
    EXPECT_NEAR(misses(static_cast<uint32_t>(x * kRoom)), m, 0.03) << x;
  }
}

TEST(HostMemory, TheCardReadsFromDramWhatNoCacheHolds) {
  Memory memory(sc_core::sc_gen_unique_name("card"), 3 * kRoom);
  for (uint32_t buffer = 0; buffer < 3 * kRoom; ++buffer) memory.write(buffer, 60);
  uint32_t gone = 0;
  while (memory->cpu_miss(gone) == 0) ++gone;
  EXPECT_GE(memory.read(gone, 60), 51'700u);
  memory->cpu_touched(0, gone);
  EXPECT_EQ(memory.read(gone, 60), 0u);
}

// Each buffer of 24 lines that is pushed out goes to DRAM.
TEST(HostMemory, WhatIsPushedOutOccupiesDramForItsBytes) {
  Memory memory(sc_core::sc_gen_unique_name("card"), 10'000);
  for (uint32_t buffer = 0; buffer < 10'000; ++buffer) memory.write(buffer, 1514);
  const double bytes = (10'000 * 25.0 * 64) - small_cache().ddio_kib.value * 1024;
  EXPECT_NEAR(static_cast<double>(memory->dram().busy) / 1000, bytes * 8 / 614.4, 50);
}

}  // namespace
}  // namespace xnic::nic
