#pragma once

#include <linux/bpf.h>

#include <mutex>
#include <optional>

#include "vm/program.h"

namespace xnic::vm {

#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

// Which programs may meet in a map that holds programs. The first one, stored in the map or loaded
// with a use of it, decides for the life of the map: same type, the same answer to "handles
// fragments", and where they call each other the same expected attach type. One that is bound to a
// device meets none.
class ProgramOwner {
 public:
  explicit ProgramOwner(bool same_attach_type) : same_attach_type_(same_attach_type) {}

  bool accepts(const Program& program) {
    if (program.spec().ifindex != 0) return false;
    const Traits traits{program.type(), same_attach_type_ ? program.spec().expected_attach_type : 0,
                        (program.spec().flags & BPF_F_XDP_HAS_FRAGS) != 0};
    const std::lock_guard lock(mutex_);
    if (!first_) first_ = traits;
    return *first_ == traits;
  }

 private:
  struct Traits {
    bpf_prog_type type;
    uint32_t expected_attach_type;
    bool fragments;
    bool operator==(const Traits&) const = default;
  };

  bool same_attach_type_;
  std::mutex mutex_;
  std::optional<Traits> first_;
};

}  // namespace xnic::vm
