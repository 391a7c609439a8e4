#include "nic/core_model.h"

#include "nic/cores/ideal.h"
#include "nic/cores/scalar.h"

namespace xnic::nic {

std::unique_ptr<const CoreModel> make_core_model(const NicProfile& profile) {
  if (kCoreModels[profile.offload_core.whole()] == "ideal") return std::make_unique<IdealCore>();
  return std::make_unique<ScalarCore>(profile);
}

}  // namespace xnic::nic
