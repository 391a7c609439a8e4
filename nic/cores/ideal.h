#pragma once

#include "nic/core_model.h"

namespace xnic::nic {

// A core that takes no time: what is then seen is everything else.
class IdealCore : public CoreModel {
 public:
  std::vector<uint32_t> costs(const vm::Program&) const override { return {}; }
  Time time(const CoreWork&) const override { return {}; }
};

}  // namespace xnic::nic
