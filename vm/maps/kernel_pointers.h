#pragma once

#include <cstdint>
#include <vector>

namespace xnic::vm {

class Btf;
struct MapSpec;

inline constexpr uint32_t kKernelPointerBytes = 8;

// A pointer to an object of the kernel in a map's value (a kptr), known by a type tag in BTF. In a
// map it is plain bytes here; the verifier holds programs to what Linux lets them do with it.
struct KernelPointer {
  enum class Kind : uint8_t {
    untrusted,   // kptr_untrusted: owns nothing
    referenced,  // kptr, percpu_kptr: owns what it points to
    user,        // uptr, which no map type that exists here may have
  };
  uint32_t offset;  // bytes
  Kind kind;
};

// Those in the values of a map with this spec, by offset.
std::vector<KernelPointer> find_kernel_pointers(const Btf& types_blob, const MapSpec& spec);

}  // namespace xnic::vm
