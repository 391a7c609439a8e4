#pragma once

#include <cstdint>
#include <cstring>

#include "vm/invocation.h"

namespace xnic::vm {

// What a dynptr leads to. Each kind begins with a function of its own.
enum class DynptrKind : uint8_t { none, local, ringbuf, skb, xdp };

inline constexpr uint32_t kDynptrBytes = 16;

// What functions of the kernel keep in a program's struct bpf_dynptr: bytes whose number is known
// only when the program runs. Programs cannot see it. All zero: it leads nowhere.
struct Dynptr {
  static constexpr uint32_t kMaxSize = (1u << 24) - 1;  // bytes

  uint64_t data = 0;  // address of the first byte that it was made for; of the Packet, of skb, xdp
  uint32_t offset = 0;
  uint32_t size : 24 = 0;
  uint32_t kind : 7 = 0;  // DynptrKind
  uint32_t read_only : 1 = 0;

  static Dynptr at(uint64_t address) {
    Dynptr dynptr;
    std::memcpy(&dynptr, reinterpret_cast<const void*>(address), sizeof dynptr);
    return dynptr;
  }
  void put(uint64_t address) const {
    std::memcpy(reinterpret_cast<void*>(address), this, sizeof *this);
  }

  bool is_null() const { return data == 0; }
  bool is_of(DynptrKind one) const { return kind == static_cast<uint32_t>(one); }
  bool is_of_packet() const { return is_of(DynptrKind::skb) || is_of(DynptrKind::xdp); }
  bool holds(uint32_t from, uint32_t count) const { return count <= size && from <= size - count; }
};
static_assert(sizeof(Dynptr) == kDynptrBytes);

// Makes one; leaves one that leads nowhere, and gives -errno, where `error` is not 0 or the size
// more than a dynptr can tell.
int make_dynptr(uint64_t address, DynptrKind kind, uint64_t data, uint32_t size, int error);

}  // namespace xnic::vm
