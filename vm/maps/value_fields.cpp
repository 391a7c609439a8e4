// The kernel's own fields in map values, and what BPF_MAP_CREATE asks of the BTF of key and value.
// A value whose fields are against the rules (two locks, a lock in an array) has none, as in Linux,
// where the verifier then refuses their use.
// Test: tests/vm/value_fields_test.cpp, against the kernel where it permits.
#include "vm/maps/value_fields.h"

#include <bpf/btf.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "vm/btf.h"
#include "vm/local_types.h"
#include "vm/map.h"
#include "vm/maps/field_search.h"
#include "vm/maps/unfilled.h"

namespace xnic::vm {
namespace {

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
  bool timer;  // and work queue
  bool roots;  // of lists and trees
  bool kptrs;  // and reference counts
};

// Types that are not here take what `any` takes, and no fields.
constexpr BtfRow kBtfRows[] = {
    {BPF_MAP_TYPE_HASH, KeyRule::required, true, true, true, true},
    {BPF_MAP_TYPE_LRU_HASH, KeyRule::required, false, true, true, true},
    {BPF_MAP_TYPE_PERCPU_HASH, KeyRule::required, false, false, false, true},
    {BPF_MAP_TYPE_LRU_PERCPU_HASH, KeyRule::required, false, false, false, true},
    {BPF_MAP_TYPE_ARRAY, KeyRule::index, true, true, true, true},
    {BPF_MAP_TYPE_PERCPU_ARRAY, KeyRule::index, false, false, false, true},
    {BPF_MAP_TYPE_LPM_TRIE, KeyRule::prefix, false, false, false, false},
    {BPF_MAP_TYPE_QUEUE, KeyRule::required, false, false, false, false},
    {BPF_MAP_TYPE_STACK, KeyRule::required, false, false, false, false},
    {BPF_MAP_TYPE_BLOOM_FILTER, KeyRule::none, false, false, false, false},
    {BPF_MAP_TYPE_PROG_ARRAY, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_DEVMAP, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_DEVMAP_HASH, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_CPUMAP, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_XSKMAP, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_SK_STORAGE, KeyRule::index, true, false, false, true},
    {BPF_MAP_TYPE_INODE_STORAGE, KeyRule::index, true, false, false, true},
    {BPF_MAP_TYPE_TASK_STORAGE, KeyRule::index, true, false, false, true},
    {kCgrpStorage, KeyRule::index, true, false, false, true},
    {BPF_MAP_TYPE_CGROUP_STORAGE, KeyRule::required, true, false, false, false},
    {BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, KeyRule::required, false, false, false, false},
    {BPF_MAP_TYPE_STACK_TRACE, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_CGROUP_ARRAY, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_SOCKMAP, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_SOCKHASH, KeyRule::refused, false, false, false, false},
    {BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, KeyRule::refused, false, false, false, false},
};

BtfRow row_of(bpf_map_type type) {
  for (const BtfRow& row : kBtfRows)
    if (row.type == type) return row;
  return {type, KeyRule::any, false, false, false, false};
}

bool takes(const BtfRow& row, SpecialField::Kind kind) {
  switch (kind) {
    case SpecialField::Kind::spin_lock:
      return row.spin_lock;
    case SpecialField::Kind::timer:
    case SpecialField::Kind::work_queue:
      return row.timer;
    case SpecialField::Kind::list_head:
    case SpecialField::Kind::rb_root:
      return row.roots;
    case SpecialField::Kind::refcount:
    case SpecialField::Kind::untrusted_kptr:
    case SpecialField::Kind::kptr:
    case SpecialField::Kind::percpu_kptr:
      return row.kptrs;
    default:
      return false;
  }
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

}  // namespace

std::string_view name_of(SpecialField::Kind kind) {
  static constexpr std::string_view kNames[] = {
      "bpf_spin_lock", "bpf_timer",    "bpf_wq", "bpf_list_head", "bpf_list_node", "bpf_rb_root",
      "bpf_rb_node",   "bpf_refcount", "kptr",   "kptr",          "percpu_kptr",   "uptr"};
  return kNames[static_cast<size_t>(kind)];
}

ValueFields::ValueFields(std::span<const SpecialField> fields,
                         const std::shared_ptr<const Btf>& types) {
  for (const SpecialField& field : fields) {
    if (field.type_id != 0) types_ = types;
    add(field);
  }
}

void ValueFields::add(SpecialField field) {
  const auto offset = static_cast<int32_t>(field.offset);
  if (field.kind == Kind::spin_lock) spin_lock_ = offset;
  if (field.kind == Kind::timer) timer_ = offset;
  if (field.kind == Kind::refcount) refcount_ = offset;
  owns_objects_ = owns_objects_ || field.is_root() || field.is_kptr();
  const auto after = std::ranges::upper_bound(fields_, field.offset, {}, &SpecialField::offset);
  fields_.insert(after, field);
}

const SpecialField* ValueFields::first(Kind kind) const {
  const auto found = std::ranges::find(fields_, kind, &SpecialField::kind);
  return found == fields_.end() ? nullptr : &*found;
}

const SpecialField* ValueFields::find(Kind kind, int64_t offset) const {
  const auto found = std::ranges::find_if(fields_, [&](const SpecialField& field) {
    return field.kind == kind && field.offset == offset;
  });
  return found == fields_.end() ? nullptr : &*found;
}

const SpecialField* ValueFields::find_kptr(int64_t offset) const {
  const auto found = std::ranges::find_if(fields_, [&](const SpecialField& field) {
    return field.is_kptr() && field.offset == offset;
  });
  return found == fields_.end() ? nullptr : &*found;
}

void ValueFields::copy(uint8_t* to, const uint8_t* from, uint32_t value_size) const {
  uint32_t done = 0;
  for (const SpecialField& field : fields_) {
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
  for (const SpecialField& field : fields_) std::memset(value + field.offset, 0, field.size);
}

void ValueFields::release(uint8_t* value) const {
  for (const SpecialField& field : fields_) {
    if (field.kind == Kind::timer) std::memset(value + field.offset, 0, field.size);
  }
  if (owns_objects_) free_owned(value, *this);
}

void lock_value(uint8_t* spin_lock) {
  const std::atomic_ref word(*reinterpret_cast<uint32_t*>(spin_lock));
  while (word.exchange(1, std::memory_order_acquire) != 0) std::this_thread::yield();
}

void unlock_value(uint8_t* spin_lock) {
  std::atomic_ref(*reinterpret_cast<uint32_t*>(spin_lock)).store(0, std::memory_order_release);
}

int check_map_btf(const std::shared_ptr<const Btf>& types_blob, MapSpec& spec) {
  const BtfRow row = row_of(spec.type);
  const btf* types = types_blob->parsed();
  const btf_type* key = nullptr;
  if (spec.btf_key_type_id != 0) {
    key = sized_type(types, spec.btf_key_type_id, spec.key_size);
    if (key == nullptr) return -EINVAL;
  }
  if (spec.btf_value_type_id == 0) return 0;
  if (key == nullptr && row.key == KeyRule::required) return -EINVAL;
  const btf_type* value = sized_type(types, spec.btf_value_type_id, spec.value_size);
  if (value == nullptr) return -EINVAL;

  // Of fields that are against the rules Linux says nothing here: the value has none.
  const auto found = find_fields(types, value, FieldsOf::map_value);
  ValueFields fields(found.value_or(std::vector<SpecialField>()), types_blob);
  if (!fields.empty()) {
    if ((spec.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) != 0) return -EACCES;
    for (const SpecialField& field : fields.all()) {
      if (!takes(row, field.kind)) return -EOPNOTSUPP;
    }
  }
  if (const int error = check_key(row.key, key, value, spec)) return error;
  spec.fields = std::move(fields);
  return 0;
}

}  // namespace xnic::vm
