// bpf(2): many elements at once. Which type has which command is Linux's own list; whoever has none
// answers -524. Hashes are walked by bucket, so that -ENOSPC tells of a bucket that does not fit;
// the buckets here are 2^31 and hold one element each but for rare collisions. out_batch is opaque:
// four bytes that name a bucket for a hash, the last key for other types.
// Test: tests/vm/syscall_batch_test.cpp.
#include <array>
#include <compare>

#include "vm/syscall/commands.h"
#include "vm/syscall/user_map.h"
#include "vm/syscall/user_memory.h"

namespace xnic::vm {
namespace {

struct BatchType {
  bpf_map_type type;
  bool by_bucket;  // walked as a hash is
  bool deletes;    // has BPF_MAP_DELETE_BATCH
};

// Kernel 6.18's map operations.
constexpr std::array kBatchTypes = {
    BatchType{BPF_MAP_TYPE_HASH, true, true},
    BatchType{BPF_MAP_TYPE_PERCPU_HASH, true, true},
    BatchType{BPF_MAP_TYPE_LRU_HASH, true, true},
    BatchType{BPF_MAP_TYPE_LRU_PERCPU_HASH, true, true},
    BatchType{BPF_MAP_TYPE_HASH_OF_MAPS, true, true},
    BatchType{BPF_MAP_TYPE_LPM_TRIE, false, true},
    BatchType{BPF_MAP_TYPE_ARRAY, false, false},
    BatchType{BPF_MAP_TYPE_PERCPU_ARRAY, false, false},
    BatchType{BPF_MAP_TYPE_ARRAY_OF_MAPS, false, false},
};

const BatchType* batch_type(const Map& map) {
  const auto* row = std::find_if(kBatchTypes.begin(), kBatchTypes.end(),
                                 [&](const BatchType& t) { return t.type == map.spec().type; });
  return row == kBatchTypes.end() ? nullptr : row;
}

// The caller's arrays of keys and values.
struct BatchArrays {
  BatchArrays(const bpf_attr& attr, const Map& map)
      : key_size(map.spec().key_size),
        value_size(map.user_value_size()),
        keys(user_pointer<uint8_t>(attr.batch.keys)),
        values(user_pointer<uint8_t>(attr.batch.values)) {}
  uint8_t* key(uint32_t i) const { return keys + static_cast<size_t>(i) * key_size; }
  uint8_t* value(uint32_t i) const { return values + static_cast<size_t>(i) * value_size; }

  size_t key_size;
  size_t value_size;
  uint8_t* keys;
  uint8_t* values;
};

constexpr uint32_t kLastBucket = INT32_MAX;

// A bucket of 2^31: where a key stands in a walk, whatever is added and deleted meanwhile (FNV-1a).
uint32_t bucket_of(const std::vector<uint8_t>& key) {
  uint32_t hash = 2166136261u;
  for (const uint8_t byte : key) hash = (hash ^ byte) * 16777619u;
  return hash >> 1;
}

struct BucketKey {
  uint32_t bucket;
  std::vector<uint8_t> key;
  auto operator<=>(const BucketKey&) const = default;
};

// Every key from this bucket on, by bucket.
std::vector<BucketKey> keys_from(Map& map, uint32_t bucket) {
  std::vector<BucketKey> keys;
  std::vector<uint8_t> key(map.spec().key_size);
  std::vector<uint8_t> next(map.spec().key_size);
  for (bool first = true; map.next_key(first ? nullptr : key.data(), next.data()) == 0;
       first = false) {
    key.swap(next);
    if (const uint32_t its = bucket_of(key); its >= bucket) keys.push_back({its, key});
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

// By bucket: in_batch is the bucket to go on from. A bucket is given whole or not at all.
long walk_buckets(Map& map, bpf_attr& attr, bool deletes) {
  if (attr.batch.flags != 0) return -EINVAL;
  const uint32_t room = attr.batch.count;
  if (room == 0) return 0;
  attr.batch.count = 0;
  uint32_t bucket = 0;
  if (attr.batch.in_batch != 0) {
    std::memcpy(&bucket, user_pointer<const void>(attr.batch.in_batch), sizeof bucket);
  }
  if (bucket > kLastBucket) return -ENOENT;
  const std::vector<BucketKey> keys = keys_from(map, bucket);
  const BatchArrays arrays(attr, map);
  uint32_t copied = 0;
  long answer = -ENOENT;
  for (auto from = keys.begin(); from != keys.end();) {
    const auto to = std::find_if(from, keys.end(),
                                 [&](const BucketKey& k) { return k.bucket != from->bucket; });
    bucket = from->bucket;
    if (to - from > static_cast<ptrdiff_t>(room - copied)) {
      answer = copied == 0 ? -ENOSPC : 0;
      break;
    }
    if (arrays.keys == nullptr || arrays.values == nullptr) return -EFAULT;
    for (; from != to; ++from) {
      const uint64_t flags = attr.batch.elem_flags;
      if (map.user_lookup(from->key.data(), arrays.value(copied), flags) != 0) continue;
      std::copy(from->key.begin(), from->key.end(), arrays.key(copied));
      copied++;
      if (deletes) map.user_erase(from->key.data());
    }
    bucket++;
  }
  if (answer == -ENOENT) bucket = kLastBucket + 1;
  if (attr.batch.out_batch == 0) return -EFAULT;
  std::memcpy(user_pointer<void>(attr.batch.out_batch), &bucket, sizeof bucket);
  attr.batch.count = copied;
  return answer;
}

// By key: in_batch is the last key of the batch before.
long walk_keys(Map& map, bpf_attr& attr) {
  const uint32_t room = attr.batch.count;
  if (room == 0) return 0;
  attr.batch.count = 0;
  const BatchArrays arrays(attr, map);
  std::vector<uint8_t> previous(arrays.key_size);
  std::vector<uint8_t> key(arrays.key_size);
  std::vector<uint8_t> value(arrays.value_size);
  bool started = attr.batch.in_batch != 0;
  if (started) {
    std::memcpy(previous.data(), user_pointer<const void>(attr.batch.in_batch), arrays.key_size);
  }
  uint32_t copied = 0;
  int error = 0;
  while (copied < room) {
    error = map.next_key(started ? previous.data() : nullptr, key.data());
    if (error != 0) break;
    const int missing = map.user_lookup(key.data(), value.data(), attr.batch.elem_flags);
    if (missing != 0 && missing != -ENOENT) return missing;
    if (missing == 0) {
      if (arrays.keys == nullptr || arrays.values == nullptr) return -EFAULT;
      std::copy(key.begin(), key.end(), arrays.key(copied));
      std::copy(value.begin(), value.end(), arrays.value(copied));
      copied++;
    }
    previous.swap(key);
    started = true;
  }
  attr.batch.count = copied;
  if (copied != 0) {
    auto* out = user_pointer<uint8_t>(attr.batch.out_batch);
    if (out == nullptr) return -EFAULT;
    std::copy(previous.begin(), previous.end(), out);
  }
  return error;
}

// What may stand in elem_flags: 0 or -EINVAL.
int check_element_flags(const Map& map, uint64_t flags) {
  if ((flags & ~uint64_t{BPF_F_LOCK}) != 0) return -EINVAL;
  return flags != 0 && !map.spec().fields.has_spin_lock() ? -EINVAL : 0;
}

// Finds the map, and whether its type has the command.
struct BatchMap {
  UserMap user;
  const BatchType* type = nullptr;
};
BatchMap batch_map(Kernel& kernel, const bpf_attr& attr, MapUse use) {
  BatchMap found{.user = user_map(kernel, attr.batch.map_fd, use)};
  if (found.user.error != 0) return found;
  found.type = batch_type(*found.user.map);
  if (found.type == nullptr) found.user.error = -kErrorNotSupported;
  return found;
}

long walk(Kernel& kernel, bpf_attr& attr, bool deletes) {
  const BatchMap at = batch_map(kernel, attr, deletes ? MapUse::read_and_write : MapUse::read);
  if (at.user.error != 0) return at.user.error;
  if (deletes && !at.type->by_bucket) return -kErrorNotSupported;
  if (const int error = check_element_flags(*at.user.map, attr.batch.elem_flags)) return error;
  return at.type->by_bucket ? walk_buckets(*at.user.map, attr, deletes)
                            : walk_keys(*at.user.map, attr);
}

// Calls `apply` with the place of one element after another, until one fails.
template <class Apply>
long for_each_element(bpf_attr& attr, Apply apply) {
  const uint32_t count = attr.batch.count;
  int error = 0;
  uint32_t done = 0;
  for (; done < count; done++) {
    error = apply(done);
    if (error != 0) break;
  }
  attr.batch.count = done;
  return error;
}

}  // namespace

long map_lookup_batch(Kernel& kernel, bpf_attr& attr) { return walk(kernel, attr, false); }

long map_lookup_and_delete_batch(Kernel& kernel, bpf_attr& attr) {
  return walk(kernel, attr, true);
}

long map_update_batch(Kernel& kernel, bpf_attr& attr) {
  const BatchMap at = batch_map(kernel, attr, MapUse::write);
  if (at.user.error != 0) return at.user.error;
  if (const int error = check_element_flags(*at.user.map, attr.batch.elem_flags)) return error;
  const BatchArrays arrays(attr, *at.user.map);
  return for_each_element(attr, [&](uint32_t i) {
    if (arrays.keys == nullptr || arrays.values == nullptr) return -EFAULT;
    return at.user.map->user_update(arrays.key(i), arrays.value(i), attr.batch.elem_flags);
  });
}

long map_delete_batch(Kernel& kernel, bpf_attr& attr) {
  const BatchMap at = batch_map(kernel, attr, MapUse::write);
  if (at.user.error != 0) return at.user.error;
  if (!at.type->deletes) return -kErrorNotSupported;
  if (const int error = check_element_flags(*at.user.map, attr.batch.elem_flags)) return error;
  const BatchArrays arrays(attr, *at.user.map);
  return for_each_element(attr, [&](uint32_t i) {
    return arrays.keys == nullptr ? -EFAULT : at.user.map->user_erase(arrays.key(i));
  });
}

}  // namespace xnic::vm
