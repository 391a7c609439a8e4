// The table of kfuncs, put together from the rows that each file of vm/kfuncs keeps, and how a call
// finds its row: by the kernel's types. Left out: kfuncs of modules, which have types of their own.
// Test: tests/vm/kfunc_test.cpp.
#include "vm/kfunc.h"

#include <vector>

#include "vm/btf.h"
#include "vm/kernel_face.h"
#include "vm/kfuncs/rows.h"

namespace xnic::vm {
namespace {

std::vector<Kfunc> all_rows() {
  std::vector<Kfunc> rows;
  for (const std::span<const Kfunc> group :
       {cast_kfuncs(), dynptr_kfuncs(), exception_kfuncs(), iterator_kfuncs(), object_kfuncs(),
        region_kfuncs(), xdp_metadata_kfuncs()}) {
    rows.insert(rows.end(), group.begin(), group.end());
  }
  return rows;
}

// By type id, the rows of one function; none for types that are no kfunc.
std::vector<std::vector<const Kfunc*>> rows_by_type() {
  const Btf& types = kernel_types();
  std::vector<std::vector<const Kfunc*>> rows(types.type_count());
  for (const Kfunc& kfunc : kfuncs()) {
    const uint32_t id = types.function_id(kfunc.row.name);
    if (id != 0) rows[id].push_back(&kfunc);
  }
  return rows;
}

}  // namespace

std::span<const Kfunc> kfuncs() {
  static const std::vector<Kfunc> kRows = all_rows();
  return kRows;
}

const Kfunc* find_kfunc(int32_t type_id, uint32_t program_types) {
  static const std::vector<std::vector<const Kfunc*>> kByType = rows_by_type();
  const auto id = static_cast<size_t>(static_cast<uint32_t>(type_id));
  if (id >= kByType.size()) return nullptr;
  for (const Kfunc* kfunc : kByType[id]) {
    if ((kfunc->row.program_types & program_types) != 0) return kfunc;
  }
  return nullptr;
}

}  // namespace xnic::vm
