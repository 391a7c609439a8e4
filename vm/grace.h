#pragma once

namespace xnic::vm {

// Lets a writer take away what other threads may be running, such as the program in a slot of a
// prog_array, without costing them anything but two plain stores: read-copy-update, as Linux calls
// it. Threads need not be announced. Test: tests/vm/grace_test.cpp.

// While it lives, what this thread finds stays. Sections nest.
class GraceSection {
 public:
  GraceSection();
  ~GraceSection();
  GraceSection(const GraceSection&) = delete;
  GraceSection& operator=(const GraceSection&) = delete;
};

// Returns when every section that any thread was in has ended: nobody can hold any more what was
// taken away before the call. False, at once, where this thread itself is in one.
bool wait_for_grace();

}  // namespace xnic::vm
