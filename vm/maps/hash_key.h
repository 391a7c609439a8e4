#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>

// Keys as 8-byte words with zeros behind the last byte. A stored key may be read while another
// thread gives its element to another key: whoever reads without a lock checks afterwards, by a
// version that writers change first, whether it could trust what it saw.
namespace xnic::vm {

inline uint64_t load_word(const uint8_t* at) {
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(at), __ATOMIC_ACQUIRE);
}
inline void store_word(uint8_t* at, uint64_t word) {
  __atomic_store_n(reinterpret_cast<uint64_t*>(at), word, __ATOMIC_RELEASE);
}

// The word at `at` of a key that ends `left` bytes after it. Nothing is put together in memory,
// from where the CPU would read it whole only after a stall.
inline uint64_t key_word(const uint8_t* at, uint32_t left) {
  if (left >= 8) {
    uint64_t word;
    std::memcpy(&word, at, 8);
    return word;
  }
  uint64_t word = 0;
  if (left >= 4) {
    uint32_t half;
    std::memcpy(&half, at, 4);
    word = half;
  }
  for (uint32_t byte = left & 4; byte < left; ++byte) word |= uint64_t{at[byte]} << (8 * byte);
  return word;
}

inline constexpr uint64_t kHashMultiplier = 0x9e3779b97f4a7c15ull;

// Both halves of a product folded into one: each bit of the answer depends on all bits of both.
inline uint64_t fold_product(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{a} * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// The key of `bytes` at `key`; the length is the map's and need not be mixed in.
inline uint64_t hash_key(const uint8_t* key, uint32_t bytes, uint64_t seed) {
  uint64_t hash = seed;
  for (uint32_t at = 0; at < bytes; at += 8)
    hash = fold_product(hash ^ key_word(key + at, bytes - at), kHashMultiplier);
  return hash;
}

// `stored` is 8-byte aligned and padded, as copy_key() leaves it.
inline bool equal_keys(const uint8_t* stored, const uint8_t* key, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; at += 8)
    if (load_word(stored + at) != key_word(key + at, bytes - at)) return false;
  return true;
}

// `key` may lie in the element that `stored` begins.
inline void copy_key(uint8_t* stored, const uint8_t* key, uint32_t bytes) {
  for (uint32_t at = 0; at < bytes; at += 8)
    store_word(stored + at, key_word(key + at, bytes - at));
}

}  // namespace xnic::vm
