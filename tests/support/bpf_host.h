#pragma once

#include <iosfwd>
#include <string>

#include "sim/bpf_host.h"
#include "tests/support/instructions.h"

// bpf(2) on either kernel, in the words of tests.
namespace xnic::test {

using sim::address_of;
using sim::BpfHost;
using sim::Bytes;
using sim::Descriptor;
using sim::EmulatedKernel;
using sim::real_possible_cpus;
using sim::RealKernel;
using sim::RunAnswer;
using sim::RunRequest;
using sim::why_no_real_kernel;

// The first difference between two answers in words; empty if they are equal.
std::string difference(const RunAnswer& ours, const RunAnswer& theirs);

}  // namespace xnic::test

namespace xnic::sim {
void PrintTo(const RunAnswer& answer, std::ostream* out);
}

// Ends a test that needs the real kernel where there is none to ask.
#define XNIC_NEEDS_REAL_KERNEL() \
  if (const std::string why = xnic::sim::why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why
