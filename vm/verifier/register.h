#pragma once

#include <cstdint>
#include <string>

#include "vm/dynptr.h"
#include "vm/verifier/bounds.h"

namespace xnic::vm {
struct MapSpec;
}

namespace xnic::vm::verifier {

// What a register, or a spilled one on the stack, holds.
enum class Type : uint8_t {
  uninitialised,
  scalar,         // a number
  context,        // the program's context
  map,            // a map itself
  map_value,      // in a value of `map`
  map_key,        // in a key of `map`, which a callback is given
  stack,          // in the stack of `frame`
  packet,         // data
  packet_meta,    // data_meta
  packet_end,     // data_end
  memory,         // `extent` bytes
  record,         // `extent` bytes of a ring buffer, which must be given back
  function,       // a callback
  dynptr,         // a dynptr that may not be written to; or, as a slot, a part of one
  flow_keys,      // what a flow dissector has found
  kernel_object,  // somewhere in an object of the kernel
  local_object,   // in an object of the program
  socket_common,  // what all sockets have
  socket,         // a full socket
  tcp_socket,
};

// The extent of packet pointers that a comparison with data_end has put at or behind the end.
inline constexpr int32_t kAtEnd = -1;
inline constexpr int32_t kBeyondEnd = -2;

// What Linux vouches for of a pointer to an object.
enum class Trust : uint8_t {
  untrusted,   // nothing: it may be read, and lead anywhere
  compatible,  // nothing, and yet older helpers take it
  rcu,         // that the object is there until the read-side section ends
  trusted,     // that it is there while the program runs
  elsewhere,   // memory of a user or of each CPU, which may not be read like this
};

// Everything that is known of one register. For a number, `number` is its value; for a pointer,
// the part of its offset that `offset` does not hold.
struct Register {
  Type type = Type::uninitialised;
  bool maybe_null = false;
  bool read_only = false;
  bool precise = false;          // a number whose value some check relied on
  bool by_delta = false;         // a number: `offset` more than the others of the same id
  bool by_narrow_delta = false;  // the same, in 32 bits and zero-extended
  uint8_t frame = 0;             // of a stack pointer
  Trust trust = Trust::untrusted;
  int32_t offset = 0;
  int32_t extent = 0;      // bytes: proven of a packet, or the size of memory
  uint32_t id = 0;         // equal ids: equal numbers, NULL together, same packet offset
  uint32_t reference = 0;  // what must be released; 0: nothing
  uint32_t map_id = 0;     // which inner map; 0 for a map that an instruction names
  // Of a function, its number; of an object, the id of its struct in the types of the kernel or the
  // program; 0: of none.
  uint32_t target = 0;
  DynptrKind dynptr_kind = DynptrKind::none;
  bool non_owning = false;  // of a local object: may be used while the lock is held
  uint32_t dynptr = 0;      // its id; of memory: of the dynptr that led there
  const MapSpec* map = nullptr;
  Bounds number;

  static Register unknown() {
    Register r;
    r.type = Type::scalar;
    return r;
  }
  static Register constant(uint64_t value) {
    Register r;
    r.type = Type::scalar;
    r.number = Bounds::constant(value);
    return r;
  }
  // At offset 0.
  static Register pointer(Type type) {
    Register r;
    r.type = type;
    r.number = Bounds::constant(0);
    return r;
  }

  bool is_scalar() const { return type == Type::scalar; }
  bool is_pointer() const { return type != Type::scalar && type != Type::uninitialised; }
  bool is_null() const { return is_scalar() && number.is_constant() && number.bits.value == 0; }
  bool is_packet() const { return type == Type::packet || type == Type::packet_meta; }
  bool is_packet_or_end() const { return is_packet() || type == Type::packet_end; }
  bool is_socket() const { return type >= Type::socket_common; }
  // True where Linux knows that the pointer cannot be NULL.
  bool is_surely_not_null() const;
  // The start of the packet: what may stand for the end of the metadata.
  bool is_packet_start() const {
    return type == Type::packet && offset == 0 && id == 0 && number.is_constant() &&
           number.bits.value == 0;
  }

  void forget_links() {
    id = 0;
    by_delta = by_narrow_delta = false;
    offset = 0;
  }

  bool operator==(const Register&) const = default;
};

// As the kernel's log says it: "scalar", "map_value_or_null".
std::string type_name(const Register& r);
// With what is known: "R1=pkt(off=8,r=14)" without the "R1=".
std::string describe(const Register& r);

}  // namespace xnic::vm::verifier
