// The kernel's own fields in map values, found by the names of their types in BTF, and what
// BPF_MAP_CREATE asks of the BTF of key and value. A value whose fields are against the rules (two
// locks, a lock in an array) has none, as in Linux, where the verifier then refuses their use.
// Pointers to the kernel's objects (kptrs) are found, too, but updates and lookups take them for
// plain bytes. What it leaves out: bpf_wq, list heads, rbtree roots and reference counts.
// Test: tests/vm/value_fields_test.cpp, against the kernel where it permits.
#include "vm/maps/value_fields.h"

#include <bpf/btf.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "vm/btf.h"
#include "vm/map.h"
#include "vm/maps/kernel_pointers.h"
#include "vm/maps/unfilled.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kSpinLockBytes = sizeof(bpf_spin_lock);
constexpr uint32_t kTimerBytes = sizeof(bpf_timer);
constexpr uint32_t kMaxDepth = 32;  // of types in types
constexpr size_t kMostFields = 11;  // that Linux keeps of a value

// Finds the fields of one value type. Functions give false where a rule is broken.
class FieldSearch {
 public:
  FieldSearch(const btf* types, ValueFields& found, std::vector<KernelPointer>& pointers)
      : types_(types), found_(found), pointers_(pointers) {}

  bool run(const btf_type* value) {
    if (btf_is_composite(value)) return in_struct(value, 0, 0);
    if (!btf_is_datasec(value)) return true;
    const btf_var_secinfo* variable = btf_var_secinfos(value);
    for (uint32_t i = 0; i < btf_vlen(value); ++i, ++variable) {
      const btf_type* declared = btf__type_by_id(types_, variable->type);
      if (declared == nullptr || !btf_is_var(declared)) continue;
      if (!at(declared->type, variable->offset, variable->size, 0)) return false;
    }
    return true;
  }

 private:
  bool in_struct(const btf_type* type, uint32_t base, uint32_t depth) {
    if (depth > kMaxDepth) return false;
    const btf_member* member = btf_members(type);
    for (uint32_t i = 0; i < btf_vlen(type); ++i, ++member) {
      const uint32_t bits = btf_member_bit_offset(type, i);
      if (bits % 8 == 0 && !at(member->type, base + bits / 8, 0, depth)) return false;
    }
    return true;
  }

  // `room` is the size that the place has for the type, 0 where nothing says.
  bool at(uint32_t type_id, uint32_t offset, uint32_t room, uint32_t depth) {
    uint64_t count = 1;
    const btf_type* type = btf__type_by_id(types_, type_id);
    for (uint32_t i = 0; type != nullptr && btf_is_array(type); ++i) {
      if (i == kMaxDepth) return false;
      count *= btf_array(type)->nelems;
      type = btf__type_by_id(types_, btf_array(type)->type);
    }
    if (type == nullptr || count == 0) return true;
    const char* text = btf__str_by_offset(types_, type->name_off);
    const std::string_view name = text != nullptr ? text : "";
    if (name == "bpf_spin_lock") {
      if (std::exchange(saw_lock_, true)) return false;
      if (!fits(type, kSpinLockBytes, 4, offset, room, count)) return true;
      found_.add_spin_lock(offset);
      return count == 1;
    }
    if (name == "bpf_timer") {
      if (std::exchange(saw_timer_, true)) return false;
      if (!fits(type, kTimerBytes, 8, offset, room, count)) return true;
      found_.add_timer(offset);
      return count == 1;
    }
    if (!btf_is_composite(type)) return pointer_at(type, offset, room, count);
    if (room != 0 && room != type->size * count) return true;
    const bool had = !found_.empty();
    const size_t first = pointers_.size();
    if (!in_struct(type, offset, depth + 1)) return false;
    if (!repeat_pointers(first, type->size, count)) return false;
    return count == 1 || had || found_.empty();
  }

  bool pointer_at(const btf_type* type, uint32_t offset, uint32_t room, uint64_t count) {
    if (btf_is_volatile(type)) type = btf__type_by_id(types_, type->type);
    if (type == nullptr || !btf_is_ptr(type)) return true;
    if (offset % kKernelPointerBytes != 0) return true;
    if (room != 0 && room != kKernelPointerBytes * count) return true;
    const btf_type* tag = btf__type_by_id(types_, type->type);
    if (!is_tag(tag)) return true;
    if (is_tag(btf__type_by_id(types_, tag->type))) return false;
    const std::optional<KernelPointer::Kind> kind = kind_of(tag);
    const btf_type* target = btf__type_by_id(types_, tag->type);
    while (target != nullptr && (btf_is_mod(target) || btf_is_typedef(target)))
      target = btf__type_by_id(types_, target->type);
    // A forward declaration is no struct.
    if (!kind || target == nullptr || !btf_is_struct(target)) return false;
    pointers_.push_back({offset, *kind});
    return repeat_pointers(pointers_.size() - 1, kKernelPointerBytes, count);
  }

  static bool is_tag(const btf_type* type) {
    return type != nullptr && btf_is_type_tag(type) && !btf_kflag(type);
  }

  std::optional<KernelPointer::Kind> kind_of(const btf_type* tag) const {
    const std::string_view name = btf__str_by_offset(types_, tag->name_off);
    if (name == "kptr_untrusted") return KernelPointer::Kind::untrusted;
    if (name == "kptr" || name == "percpu_kptr") return KernelPointer::Kind::referenced;
    if (name == "uptr") return KernelPointer::Kind::user;
    return {};
  }

  // The pointers from number `first` on are those of the first of `count` array elements.
  bool repeat_pointers(size_t first, uint32_t stride, uint64_t count) {
    const size_t each = pointers_.size() - first;
    if (each == 0) return true;
    if (count > kMostFields || first + each * count > kMostFields) return false;
    for (uint32_t element = 1; element < count; ++element) {
      for (size_t i = first; i < first + each; ++i) {
        pointers_.push_back({pointers_[i].offset + element * stride, pointers_[i].kind});
      }
    }
    return true;
  }

  static bool fits(const btf_type* type, uint32_t size, uint32_t alignment, uint32_t offset,
                   uint32_t room, uint64_t count) {
    return btf_is_composite(type) && type->size == size && offset % alignment == 0 &&
           (room == 0 || room == size * count);
  }

  const btf* types_;
  ValueFields& found_;
  std::vector<KernelPointer>& pointers_;
  bool saw_lock_ = false;
  bool saw_timer_ = false;
};

// What a map type wants its key to be in BTF.
enum class KeyRule : uint8_t {
  any,       // some type
  required,  // the same, and one must be named; asked before anything about the value
  index,     // a 32-bit integer, or none for an array that holds a data section
  prefix,    // a struct
  none,      // keyless
  refused,   // the type takes no BTF at all
};

struct BtfRow {
  bpf_map_type type;
  KeyRule key;
  bool spin_lock;
  bool timer;
  bool pointers;  // to objects of the kernel
};

// Types that are not here take what `any` takes, and no fields.
constexpr BtfRow kBtfRows[] = {
    {BPF_MAP_TYPE_HASH, KeyRule::required, true, true, true},
    {BPF_MAP_TYPE_LRU_HASH, KeyRule::required, false, true, true},
    {BPF_MAP_TYPE_PERCPU_HASH, KeyRule::required, false, false, true},
    {BPF_MAP_TYPE_LRU_PERCPU_HASH, KeyRule::required, false, false, true},
    {BPF_MAP_TYPE_ARRAY, KeyRule::index, true, true, true},
    {BPF_MAP_TYPE_PERCPU_ARRAY, KeyRule::index, false, false, true},
    {BPF_MAP_TYPE_LPM_TRIE, KeyRule::prefix, false, false, false},
    {BPF_MAP_TYPE_QUEUE, KeyRule::required, false, false, false},
    {BPF_MAP_TYPE_STACK, KeyRule::required, false, false, false},
    {BPF_MAP_TYPE_BLOOM_FILTER, KeyRule::none, false, false, false},
    {BPF_MAP_TYPE_PROG_ARRAY, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_DEVMAP, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_DEVMAP_HASH, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_CPUMAP, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_XSKMAP, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_SK_STORAGE, KeyRule::index, true, false, true},
    {BPF_MAP_TYPE_INODE_STORAGE, KeyRule::index, true, false, true},
    {BPF_MAP_TYPE_TASK_STORAGE, KeyRule::index, true, false, true},
    {kCgrpStorage, KeyRule::index, true, false, true},
    {BPF_MAP_TYPE_CGROUP_STORAGE, KeyRule::required, true, false, false},
    {BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, KeyRule::required, false, false, false},
    {BPF_MAP_TYPE_STACK_TRACE, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_CGROUP_ARRAY, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_SOCKMAP, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_SOCKHASH, KeyRule::refused, false, false, false},
    {BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, KeyRule::refused, false, false, false},
};

BtfRow row_of(bpf_map_type type) {
  for (const BtfRow& row : kBtfRows)
    if (row.type == type) return row;
  return {type, KeyRule::any, false, false, false};
}

// 0 or -errno. `key` is null for the void type.
int check_key(KeyRule rule, const btf_type* key, const btf_type* value, const MapSpec& spec) {
  switch (rule) {
    case KeyRule::any:
    case KeyRule::required:
      return 0;
    case KeyRule::index:
      if (key == nullptr) {
        const bool section = spec.type == BPF_MAP_TYPE_ARRAY && spec.max_entries == 1;
        return section && btf_is_datasec(value) ? 0 : -EINVAL;
      }
      return btf_is_int(key) && btf_int_bits(key) == 32 && btf_int_offset(key) == 0 ? 0 : -EINVAL;
    case KeyRule::prefix:
      return key != nullptr && BTF_INFO_KIND(key->info) == BTF_KIND_STRUCT ? 0 : -EINVAL;
    case KeyRule::none:
      return key == nullptr ? 0 : -EINVAL;
    case KeyRule::refused:
      return -kErrorNotSupported;
  }
  return 0;
}

// The type behind typedefs and qualifiers if it has this size, else null.
const btf_type* sized_type(const btf* types, uint32_t id, uint32_t size) {
  const int64_t bytes = btf__resolve_size(types, id);
  if (bytes < 0 || bytes != size) return nullptr;
  const btf_type* type = btf__type_by_id(types, id);
  while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type) || btf_is_var(type)))
    type = btf__type_by_id(types, type->type);
  return type;
}

void search(const btf* types, const btf_type* value, ValueFields& fields,
            std::vector<KernelPointer>& pointers) {
  if (FieldSearch(types, fields, pointers).run(value)) return;
  fields = {};
  pointers.clear();
}

}  // namespace

void ValueFields::add(Field field) {
  const auto after = std::ranges::upper_bound(fields_, field.offset, {}, &Field::offset);
  fields_.insert(after, field);
}

void ValueFields::add_spin_lock(uint32_t offset) {
  spin_lock_ = static_cast<int32_t>(offset);
  add({offset, kSpinLockBytes});
}

void ValueFields::add_timer(uint32_t offset) {
  timer_ = static_cast<int32_t>(offset);
  add({offset, kTimerBytes});
}

void ValueFields::copy(uint8_t* to, const uint8_t* from, uint32_t value_size) const {
  uint32_t done = 0;
  for (const Field& field : fields_) {
    std::memmove(to + done, from + done, field.offset - done);
    done = field.offset + field.size;
  }
  std::memmove(to + done, from + done, value_size - done);
}

void ValueFields::copy_locked(uint8_t* to, const uint8_t* from, uint32_t value_size,
                              uint8_t* locked) const {
  lock_value(locked + spin_lock_);
  copy(to, from, value_size);
  unlock_value(locked + spin_lock_);
}

void ValueFields::zero(uint8_t* value) const {
  for (const Field& field : fields_) std::memset(value + field.offset, 0, field.size);
}

void ValueFields::zero_timer(uint8_t* value) const {
  if (timer_ >= 0) std::memset(value + timer_, 0, kTimerBytes);
}

void lock_value(uint8_t* spin_lock) {
  const std::atomic_ref word(*reinterpret_cast<uint32_t*>(spin_lock));
  while (word.exchange(1, std::memory_order_acquire) != 0) std::this_thread::yield();
}

void unlock_value(uint8_t* spin_lock) {
  std::atomic_ref(*reinterpret_cast<uint32_t*>(spin_lock)).store(0, std::memory_order_release);
}

int check_map_btf(const Btf& types_blob, MapSpec& spec) {
  const BtfRow row = row_of(spec.type);
  const btf* types = types_blob.parsed();
  const btf_type* key = nullptr;
  if (spec.btf_key_type_id != 0) {
    key = sized_type(types, spec.btf_key_type_id, spec.key_size);
    if (key == nullptr) return -EINVAL;
  }
  if (spec.btf_value_type_id == 0) return 0;
  if (key == nullptr && row.key == KeyRule::required) return -EINVAL;
  const btf_type* value = sized_type(types, spec.btf_value_type_id, spec.value_size);
  if (value == nullptr) return -EINVAL;

  ValueFields fields;
  std::vector<KernelPointer> pointers;
  search(types, value, fields, pointers);
  if (!fields.empty() || !pointers.empty()) {
    if ((spec.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) != 0) return -EACCES;
    if (fields.has_spin_lock() && !row.spin_lock) return -EOPNOTSUPP;
    if (fields.has_timer() && !row.timer) return -EOPNOTSUPP;
    for (const KernelPointer& pointer : pointers) {
      if (!row.pointers || pointer.kind == KernelPointer::Kind::user) return -EOPNOTSUPP;
    }
  }
  if (const int error = check_key(row.key, key, value, spec)) return error;
  spec.fields = std::move(fields);
  return 0;
}

std::vector<KernelPointer> find_kernel_pointers(const Btf& types_blob, const MapSpec& spec) {
  const btf* types = types_blob.parsed();
  ValueFields fields;
  std::vector<KernelPointer> pointers;
  if (spec.btf_value_type_id == 0) return pointers;
  const btf_type* value = sized_type(types, spec.btf_value_type_id, spec.value_size);
  if (value != nullptr) search(types, value, fields, pointers);
  return pointers;
}

}  // namespace xnic::vm
