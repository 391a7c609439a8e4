// The order of programs at tcx: what Linux makes of before, after, replace and revisions
// (kernel/bpf/mprog.c was read for its behaviour). Places are counted as there: -1 is in front of
// the first program, total() behind the last; "before" names the place in front of a program,
// "after" the one behind it, and all that a request says must name the same place.
// Left out: BPF_F_PREORDER, which is for cgroups. Test: tests/vm/syscall_link_test.cpp.
#include "vm/attach_point.h"

#include <algorithm>
#include <cerrno>

#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr int kMaxPrograms = 64;
constexpr int kNowhere = -ERANGE;

bool matches(const Attached& one, const Attached& wanted) {
  return one.program == wanted.program && (wanted.link == 0 || one.link == wanted.link);
}

}  // namespace

int AttachPoint::find_exactly(const Attached& what) const {
  for (int i = 0; i < total(); i++) {
    const Attached& one = attached_[static_cast<size_t>(i)];
    if (one.program == what.program) return one.link == what.link ? i : -EBUSY;
  }
  return -ENOENT;
}

// Narrows `at` to the place that before and after name; the end where nothing names one.
int AttachPoint::place(uint32_t& flags, const Attached& relative, int& at) const {
  const auto agree = [&](int offset, int where_empty) {
    int found = where_empty;
    if (relative.program != nullptr) {
      const auto one = std::find_if(attached_.begin(), attached_.end(),
                                    [&](const Attached& a) { return matches(a, relative); });
      if (one == attached_.end()) return -ENOENT;
      found = static_cast<int>(one - attached_.begin()) + offset;
    }
    if (at >= -1 && found != at) return -ERANGE;
    at = found;
    return 0;
  };
  if ((flags & uapi::kBefore) != 0) {
    if (const int error = agree(-1, -1); error != 0) return error;
  }
  if ((flags & uapi::kAfter) != 0) {
    const int before = at;
    if (const int error = agree(1, total()); error != 0) {
      return error == -ERANGE && before >= -1 ? -ERANGE : error;
    }
  }
  if (at < -1) {
    if (relative.program != nullptr || flags != 0) return -EINVAL;
    at = total();
    flags = uapi::kAfter;
  }
  return 0;
}

int AttachPoint::attach(const Attached& fresh, const Attached* old, uint32_t flags,
                        const FindRelative& find_relative, uint64_t revision) {
  if (revision != 0 && revision != revision_) return -ESTALE;
  for (const Attached& one : attached_) {
    if (one.program == fresh.program) return -EEXIST;
  }
  Attached relative;
  if (const int error = find_relative(relative); error != 0) return error;
  int at = kNowhere;
  if (old != nullptr) {
    at = find_exactly(*old);
    if (at < 0) return at;
  } else if (total() == kMaxPrograms) {
    return -ERANGE;
  }
  if (const int error = place(flags, relative, at); error != 0) return error;
  if (at >= kMaxPrograms) return -ERANGE;
  if (old != nullptr) {
    attached_[static_cast<size_t>(at)] = fresh;
  } else {
    if (at != total() && (flags & uapi::kBefore) != 0) at++;
    attached_.insert(attached_.begin() + at, fresh);
  }
  revision_++;
  return 0;
}

int AttachPoint::detach(const Attached& what, uint32_t flags, const FindRelative& find_relative,
                        uint64_t revision) {
  if (attached_.empty()) return -ENOENT;
  if ((flags & BPF_F_REPLACE) != 0) return -EINVAL;
  if (revision != 0 && revision != revision_) return -ESTALE;
  Attached relative;
  if (const int error = find_relative(relative); error != 0) return error;
  int at = kNowhere;
  if (what.program != nullptr) {
    at = find_exactly(what);
    if (at < 0) return at;
  }
  if (const int error = place(flags, relative, at); error != 0) return error;
  at = std::clamp(at, 0, total() - 1);
  const auto leaving = attached_.begin() + at;
  if (leaving->link != 0 && what.link == 0) return -EBUSY;
  attached_.erase(leaving);
  revision_ = attached_.empty() ? 1 : revision_ + 1;
  return 0;
}

}  // namespace xnic::vm
