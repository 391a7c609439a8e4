#include "vm/isa.h"

namespace xnic::vm {

bool atomic_operation_exists(int32_t imm) {
  switch (imm) {
    case BPF_ADD:
    case BPF_OR:
    case BPF_AND:
    case BPF_XOR:
    case BPF_ADD | kAtomicFetch:
    case BPF_OR | kAtomicFetch:
    case BPF_AND | kAtomicFetch:
    case BPF_XOR | kAtomicFetch:
    case kAtomicExchange:
    case kAtomicCompareExchange:
    case kLoadAcquire:
    case kStoreRelease:
      return true;
    default:
      return false;
  }
}

}  // namespace xnic::vm
