#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "vm/program.h"

namespace xnic::vm {

// A program at an attach point, and the id of the link that put it there; 0 without one.
struct Attached {
  std::shared_ptr<const Program> program;
  uint32_t link = 0;
};

// An attach point that runs several programs in an order that the callers choose (tcx): each attach
// and detach may name a place by BPF_F_BEFORE and BPF_F_AFTER another program or link, and the
// revision that it has seen. Errors are -errno, in the order in which Linux finds them.
// Test: tests/vm/syscall_link_test.cpp.
class AttachPoint {
 public:
  // Finds the program or link that `flags` and descriptor or id name, an empty one where nothing
  // is named; 0 or -errno.
  using FindRelative = std::function<int(Attached& relative)>;

  // Where `old` is not null, it is replaced (BPF_F_REPLACE).
  int attach(const Attached& fresh, const Attached* old, uint32_t flags,
             const FindRelative& find_relative, uint64_t revision);
  // Where `what` is empty, flags and relative say which.
  int detach(const Attached& what, uint32_t flags, const FindRelative& find_relative,
             uint64_t revision);

  // In the order in which they run.
  std::span<const Attached> attached() const { return attached_; }
  // Starts at 1, and again when the last program left.
  uint64_t revision() const { return revision_; }

 private:
  int find_exactly(const Attached& what) const;
  int place(uint32_t& flags, const Attached& relative, int& at) const;
  int total() const { return static_cast<int>(attached_.size()); }

  std::vector<Attached> attached_;
  uint64_t revision_ = 1;
};

}  // namespace xnic::vm
