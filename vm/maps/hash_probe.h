#pragma once

#include <cstdint>
#include <optional>

#include "vm/map.h"
#include "vm/maps/bucket.h"

namespace xnic::vm {

// What a lookup in a hash table nearly always comes down to: one look into the key's first bucket
// and at one element. For generated code that does it in place (jit/hash_lookup.cpp); what this
// does not settle is DirectLookup::function's. Fixed for the life of the map.
struct HashProbe {
  uint64_t seed = 0;                  // of hash_key() (vm/maps/hash_key.h)
  uint32_t mask = 0;                  // of the hash, for the bucket's number
  const Bucket* buckets = nullptr;    // first of them
  const uint8_t* elements = nullptr;  // by number in a bucket, in units of ElementPool::kUnit
  uint32_t key_offset = 0;            // in an element, bytes; behind the key zeros up to 8
  uint32_t value_offset = 0;          // of CPU 0's value
  uint64_t cpu_stride = 0;            // bytes; 0 where all CPUs share the value
  int32_t mark_offset = 0;            // of a byte that a lookup sets to 1; 0 where there is none
};

// Nothing for a map that is no hash table.
std::optional<HashProbe> hash_probe(const Map& map);

}  // namespace xnic::vm
