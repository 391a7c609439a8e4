#pragma once

#include "nic/core_model.h"

namespace xnic::nic {

// A plain core: one instruction after the other, each of so many cycles; a helper, and one that
// accesses a map, makes it wait for longer. It is busy for a fixed time with every packet besides.
// It leaves out pipelines, caches, and what arguments cost: a long key takes what a short one does.
// Test: tests/nic/offload_engine_test.cpp.
class ScalarCore : public CoreModel {
 public:
  explicit ScalarCore(const NicProfile& profile);

  // In cycles.
  std::vector<uint32_t> costs(const vm::Program& program) const override;
  Time time(const CoreWork& work) const override;

 private:
  Picoseconds fixed_;
  uint64_t cycle_fs_;  // femtoseconds
  uint32_t instruction_cycles_;
  uint32_t helper_cycles_;
  uint32_t map_cycles_;
};

}  // namespace xnic::nic
