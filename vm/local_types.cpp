// Test: tests/vm/local_types_test.cpp; tests/bpf/local_objects, compared with Linux.
#include "vm/local_types.h"

#include <bpf/btf.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>

#include "vm/btf.h"
#include "vm/graph.h"
#include "vm/maps/field_search.h"

namespace xnic::vm {
namespace {

constexpr uint64_t kChunkBytes = 1u << 16;  // and their alignment
constexpr uint32_t kAlignment = 16;
constexpr int kTooDeep = -ELOOP;

std::atomic_ref<uint32_t> count_of(uint8_t* object, const ValueFields& fields) {
  return std::atomic_ref(*reinterpret_cast<uint32_t*>(object + fields.refcount_offset()));
}

// Types whose members make a struct one that has fields of the kernel.
std::set<uint32_t> special_members(const btf* types) {
  std::set<uint32_t> ids;
  for (const char* name : {"bpf_spin_lock", "bpf_list_head", "bpf_list_node", "bpf_rb_root",
                           "bpf_rb_node", "bpf_refcount"}) {
    const int id = btf__find_by_name_kind(types, name, BTF_KIND_STRUCT);
    if (id > 0) ids.insert(static_cast<uint32_t>(id));
  }
  const uint32_t count = btf__type_cnt(types);
  for (uint32_t id = 1; id < count; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (btf_is_volatile(type)) type = btf__type_by_id(types, type->type);
    if (type == nullptr || !btf_is_ptr(type)) continue;
    const btf_type* tag = btf__type_by_id(types, type->type);
    if (tag == nullptr || !btf_is_type_tag(tag) || btf_kflag(tag)) continue;
    const btf_type* target = btf__type_by_id(types, tag->type);
    while (target != nullptr && (btf_is_mod(target) || btf_is_typedef(target))) {
      target = btf__type_by_id(types, target->type);
    }
    if (target == nullptr || !btf_is_composite(target)) continue;
    const std::string_view word = btf__str_by_offset(types, tag->name_off);
    if (word == "kptr" || word == "kptr_untrusted" || word == "percpu_kptr") ids.insert(id);
  }
  return ids;
}

}  // namespace

// What lies before each object.
struct LocalTypes::Slot {
  Slot* next_free = nullptr;
  std::atomic<uint64_t> lives = 0;

  uint8_t* object() { return reinterpret_cast<uint8_t*>(this + 1); }
};

// Slots of one type, behind this.
struct alignas(64) LocalTypes::Chunk {
  Pool* pool;
};

struct LocalTypes::Pool {
  const ValueFields* fields;
  uint32_t size;    // of an object
  uint32_t stride;  // from slot to slot
  SpinLock lock;
  Slot* free = nullptr;
  std::vector<Chunk*> chunks;

  uint32_t slots() const { return static_cast<uint32_t>((kChunkBytes - sizeof(Chunk)) / stride); }
  Slot& slot(Chunk* chunk, uint64_t number) const {
    return *reinterpret_cast<Slot*>(reinterpret_cast<uint8_t*>(chunk + 1) + number * stride);
  }
  bool grow() {
    void* memory = std::aligned_alloc(kChunkBytes, kChunkBytes);
    if (memory == nullptr) return false;
    std::memset(memory, 0, kChunkBytes);
    auto* chunk = new (memory) Chunk{this};
    chunks.push_back(chunk);
    for (uint32_t i = slots(); i-- > 0;) {
      Slot* fresh = new (&slot(chunk, i)) Slot;
      fresh->next_free = free;
      free = fresh;
    }
    return true;
  }
};

tl::expected<std::unique_ptr<LocalTypes>, int> LocalTypes::find(const Btf& types_blob) {
  const btf* types = types_blob.parsed();
  std::unique_ptr<LocalTypes> local(new LocalTypes);
  const std::set<uint32_t> special = special_members(types);
  const uint32_t count = btf__type_cnt(types);
  for (uint32_t id = 1; !special.empty() && id < count; ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (!btf_is_composite(type)) continue;
    bool has_any = false;
    for (uint32_t i = 0; i < btf_vlen(type); ++i) {
      has_any = has_any || special.contains(btf_members(type)[i].type);
    }
    if (!has_any) continue;
    auto found = find_fields(types, type, FieldsOf::local_object);
    if (!found) return tl::unexpected(found.error());
    if (found->empty()) return tl::unexpected(-EFAULT);
    local->fields_.emplace(id, ValueFields(std::move(*found), nullptr));
  }
  // What a node owns in turn may own nothing more: freeing must not go ever deeper.
  for (const auto& [id, fields] : local->fields_) {
    bool is_node = false;
    for (const SpecialField& field : fields.all()) is_node = is_node || field.is_node();
    for (const SpecialField& field : fields.all()) {
      if (!field.is_root()) continue;
      const auto held = local->fields_.find(field.type_id);
      if (held == local->fields_.end()) return tl::unexpected(-EFAULT);
      if (!is_node) continue;
      for (const SpecialField& inner : held->second.all()) {
        if (inner.is_root()) return tl::unexpected(kTooDeep);
      }
    }
  }
  return local;
}

LocalTypes::~LocalTypes() {
  for (const auto& [id, pool] : pools_) {
    for (Chunk* chunk : pool->chunks) std::free(chunk);
  }
}

const ValueFields& LocalTypes::fields_of(uint32_t type_id) const {
  static const ValueFields kNone;
  const auto found = fields_.find(type_id);
  return found == fields_.end() ? kNone : found->second;
}

uint8_t* LocalTypes::make(uint32_t type_id, uint32_t size) {
  if (size == 0 || size > kMostBytes) return nullptr;
  Pool* pool = nullptr;
  {
    const std::lock_guard guard(lock_);
    std::unique_ptr<Pool>& known = pools_[type_id];
    if (known == nullptr) {
      const auto stride =
          static_cast<uint32_t>((sizeof(Slot) + size + kAlignment - 1) / kAlignment * kAlignment);
      known.reset(new Pool{&fields_of(type_id), size, stride, {}, nullptr, {}});
    }
    pool = known.get();
  }
  Slot* slot = nullptr;
  {
    const std::lock_guard guard(pool->lock);
    if (pool->free == nullptr && !pool->grow()) return nullptr;
    slot = pool->free;
    pool->free = slot->next_free;
  }
  uint8_t* object = slot->object();
  std::memset(object, 0, size);
  slot->lives.store(1, std::memory_order_release);
  if (pool->fields->has_refcount()) {
    count_of(object, *pool->fields).store(1, std::memory_order_release);
  }
  return object;
}

LocalTypes::Object LocalTypes::object_around(uint64_t address) const {
  const std::lock_guard guard(lock_);
  for (const auto& [id, pool] : pools_) {
    const std::lock_guard pool_guard(pool->lock);
    for (Chunk* chunk : pool->chunks) {
      const uint64_t offset = address - reinterpret_cast<uintptr_t>(chunk);
      if (offset >= kChunkBytes || offset < sizeof(Chunk)) continue;
      const uint64_t number = (offset - sizeof(Chunk)) / pool->stride;
      if (number >= pool->slots()) return {};
      Slot& slot = pool->slot(chunk, number);
      const uint64_t within = address - reinterpret_cast<uintptr_t>(slot.object());
      if (within >= pool->size || slot.lives.load(std::memory_order_acquire) == 0) return {};
      return {slot.object(), pool->size, pool->fields};
    }
  }
  return {};
}

LocalTypes::Slot& LocalTypes::slot_of(const uint8_t* object) {
  return *reinterpret_cast<Slot*>(const_cast<uint8_t*>(object) - sizeof(Slot));
}

LocalTypes::Pool& LocalTypes::pool_of(const uint8_t* object) {
  const auto address = reinterpret_cast<uintptr_t>(object);
  return *reinterpret_cast<Chunk*>(address & ~(kChunkBytes - 1))->pool;
}

uint8_t* object_of(uint8_t* inside) {
  const auto address = reinterpret_cast<uintptr_t>(inside);
  auto* chunk = reinterpret_cast<LocalTypes::Chunk*>(address & ~(kChunkBytes - 1));
  const uint64_t offset = address - reinterpret_cast<uintptr_t>(chunk + 1);
  return chunk->pool->slot(chunk, offset / chunk->pool->stride).object();
}

bool add_owner(uint8_t* object) {
  const LocalTypes::Pool& pool = LocalTypes::pool_of(object);
  const std::atomic_ref<uint32_t> count = count_of(object, *pool.fields);
  uint32_t owners = count.load(std::memory_order_relaxed);
  while (owners != 0) {
    if (count.compare_exchange_weak(owners, owners + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void drop_owner(uint8_t* object) {
  LocalTypes::Pool& pool = LocalTypes::pool_of(object);
  if (pool.fields->has_refcount() &&
      count_of(object, *pool.fields).fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  free_owned(object, *pool.fields);
  LocalTypes::Slot& slot = LocalTypes::slot_of(object);
  slot.lives.store(0, std::memory_order_release);
  const std::lock_guard guard(pool.lock);
  slot.next_free = pool.free;
  pool.free = &slot;
}

namespace {

// What a field owns, taken from it one by one; null at the end.
uint8_t* take_owned(uint8_t* value, const SpecialField& field) {
  uint8_t* at = value + field.offset;
  switch (field.kind) {
    case SpecialField::Kind::list_head: {
      uint8_t* node = pop_from_list(at, true);
      return node == nullptr ? nullptr : node - field.node_offset;
    }
    case SpecialField::Kind::rb_root: {
      uint8_t* node = first_of_tree(at);
      if (node == nullptr || !remove_from_tree(at, node)) return nullptr;
      return node - field.node_offset;
    }
    case SpecialField::Kind::kptr:
    case SpecialField::Kind::percpu_kptr:
      return reinterpret_cast<uint8_t*>(
          std::atomic_ref(*reinterpret_cast<uint64_t*>(at)).exchange(0, std::memory_order_acq_rel));
    case SpecialField::Kind::untrusted_kptr:
      std::memset(at, 0, field.size);
      return nullptr;
    default:
      return nullptr;
  }
}

}  // namespace

void free_owned(uint8_t* value, const ValueFields& fields) {
  if (!fields.owns_objects()) return;
  // A program may hold a pointer to the value still. Objects are dropped when the lock is given
  // back: each may take long.
  uint8_t* const lock = fields.has_spin_lock() ? value + fields.spin_lock_offset() : nullptr;
  // Objects whose turn comes later: a chain of them may be long. Only the outermost call has any.
  thread_local std::vector<uint8_t*>* waiting = nullptr;
  std::vector<uint8_t*> own;
  const bool is_outermost = waiting == nullptr;
  if (is_outermost) waiting = &own;
  for (const SpecialField& field : fields.all()) {
    const bool is_locked = field.is_root() && lock != nullptr;
    if (is_locked) lock_value(lock);
    while (uint8_t* owned = take_owned(value, field)) waiting->push_back(owned);
    if (is_locked) unlock_value(lock);
  }
  if (!is_outermost) return;
  while (!own.empty()) {
    uint8_t* next = own.back();
    own.pop_back();
    drop_owner(next);
  }
  waiting = nullptr;
}

}  // namespace xnic::vm
