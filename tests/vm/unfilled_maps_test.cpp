// Map types that nothing here fills are made, and refused, as Linux does.
#include "vm/maps/unfilled.h"

#include <gtest/gtest.h>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

TEST(UnfilledMaps, AreMadeOfWhatLinuxMakesThemOf) {
  XNIC_NEEDS_REAL_KERNEL();
  RealKernel theirs;
  vm::Interpreter interpreter;
  vm::Kernel kernel(interpreter);
  EmulatedKernel ours(kernel);
  for (const vm::MapType& row : vm::map_types()) {
    // What has types needs BTF.
    const bool has_types =
        row.check == vm::check_local_storage || row.check == vm::check_struct_ops;
    if (!vm::is_unfilled(row.type) || has_types) continue;
    for (const uint32_t key_size : {0u, 4u, 8u, 16u, 512u, 513u}) {
      for (const uint32_t value_size : {0u, 4u, 8u, 16u, 12u, 1016u, 1024u}) {
        for (const uint32_t entries : {0u, 1u, 4096u}) {
          const auto make = [&](BpfHost& host) {
            bpf_attr attr{};
            attr.map_type = row.type;
            attr.key_size = key_size;
            attr.value_size = value_size;
            attr.max_entries = entries;
            return Descriptor(host.bpf(BPF_MAP_CREATE, attr)).error();
          };
          EXPECT_EQ(make(ours), make(theirs)) << row.name << " of " << key_size << ", "
                                              << value_size << " bytes, " << entries << " entries";
        }
      }
    }
  }
}

}  // namespace
}  // namespace xnic::test
