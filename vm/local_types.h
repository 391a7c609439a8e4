#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <tl/expected.hpp>
#include <vector>

#include "vm/maps/spin_lock.h"
#include "vm/maps/value_fields.h"

namespace xnic::vm {

class Btf;

// The structs of one BTF of which programs make objects (bpf_obj_new): the kernel's own fields in
// them, and the memory of the objects. Memory that held an object of one type holds none of another
// for as long as the BTF lives, so that a pointer that outlived its object still leads to one of
// its type. For many threads.
class LocalTypes {
 public:
  // Beyond it there is no memory for an object, as in Linux.
  static constexpr uint32_t kMostBytes = 4088;

  // -errno where fields of a struct are against Linux's rules, which then refuses the BTF.
  static tl::expected<std::unique_ptr<LocalTypes>, int> find(const Btf& types);
  ~LocalTypes();
  LocalTypes(const LocalTypes&) = delete;
  LocalTypes& operator=(const LocalTypes&) = delete;

  // None for a struct without such fields.
  const ValueFields& fields_of(uint32_t type_id) const;

  // A zeroed object with one owner; null where there is no memory for it.
  uint8_t* make(uint32_t type_id, uint32_t size);

  // A living object; none where `start` is null.
  struct Object {
    uint8_t* start = nullptr;
    uint32_t size = 0;
    const ValueFields* fields = nullptr;
  };
  // The one that an address that may be any falls into.
  Object object_around(uint64_t address) const;

 private:
  struct Pool;
  struct Chunk;
  struct Slot;
  friend struct LocalObject;

  LocalTypes() = default;
  static Slot& slot_of(const uint8_t* object);
  static Pool& pool_of(const uint8_t* object);
  friend bool add_owner(uint8_t* object);
  friend void drop_owner(uint8_t* object);
  friend uint8_t* object_of(uint8_t* inside);

  std::map<uint32_t, ValueFields> fields_;
  mutable SpinLock lock_;
  std::map<uint32_t, std::unique_ptr<Pool>> pools_;  // by type id
};

// Of objects that LocalTypes made.

// The object that an address inside of it belongs to.
uint8_t* object_of(uint8_t* inside);
// One more owner of an object that counts them; false if it has none any more.
bool add_owner(uint8_t* object);
// One owner less. The last one frees it, with all that it owns.
void drop_owner(uint8_t* object);
// Drops all that a map's value, or an object, owns, and empties its lists and trees, with the lock
// of the value held, which must be free.
void free_owned(uint8_t* value, const ValueFields& fields);

}  // namespace xnic::vm
