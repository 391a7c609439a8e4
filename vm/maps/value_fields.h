#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace xnic::vm {

class Btf;
struct MapSpec;

// A part of a map's value, or of an object that a program makes, that belongs to the kernel.
struct SpecialField {
  enum class Kind : uint8_t {
    spin_lock,
    timer,
    work_queue,
    list_head,
    list_node,
    rb_root,
    rb_node,
    refcount,
    untrusted_kptr,  // a pointer that owns nothing
    kptr,            // one that owns what it points to
    percpu_kptr,
    user_pointer,  // uptr, which no map type that exists here may have
  };
  Kind kind;
  uint32_t offset;  // bytes
  uint32_t size;    // bytes
  // Of a list head or root, the struct that it holds; of a kptr, what it points to, which is one of
  // the kernel's if that has the name. An id in the BTF that the field was found by.
  uint32_t type_id = 0;
  uint32_t node_offset = 0;  // of a list head or root: where in that struct the node lies

  bool operator==(const SpecialField&) const = default;
  bool is_kptr() const { return kind >= Kind::untrusted_kptr; }
  bool is_root() const { return kind == Kind::list_head || kind == Kind::rb_root; }
  bool is_node() const { return kind == Kind::list_node || kind == Kind::rb_node; }
};

// As Linux names the type: "bpf_list_head", "kptr".
std::string_view name_of(SpecialField::Kind kind);

// All such fields of one type, known by the names and tags of their types in BTF. Updates leave
// them as they are, user space sees zeros.
class ValueFields {
 public:
  using Kind = SpecialField::Kind;

  ValueFields() = default;
  // `types`: the BTF that type_id of the fields counts in; null where that goes without saying.
  ValueFields(std::span<const SpecialField> fields, const std::shared_ptr<const Btf>& types);
  bool operator==(const ValueFields&) const = default;

  bool empty() const { return fields_.empty(); }
  std::span<const SpecialField> all() const { return fields_; }  // by offset
  const Btf* types() const { return types_.get(); }
  bool has(Kind kind) const { return first(kind) != nullptr; }
  const SpecialField* first(Kind kind) const;
  // The field of this kind at the offset, null if there is none.
  const SpecialField* find(Kind kind, int64_t offset) const;
  const SpecialField* find_kptr(int64_t offset) const;
  bool has_spin_lock() const { return spin_lock_ >= 0; }
  bool has_timer() const { return timer_ >= 0; }
  bool has_refcount() const { return refcount_ >= 0; }
  // Offsets, -1 where there is none.
  int32_t spin_lock_offset() const { return spin_lock_; }
  int32_t timer_offset() const { return timer_; }
  int32_t refcount_offset() const { return refcount_; }
  // Whether values may own objects, which somebody has to free.
  bool owns_objects() const { return owns_objects_; }

  void add(SpecialField field);

  // Copies a value but for the fields. The two may overlap.
  void copy(uint8_t* to, const uint8_t* from, uint32_t value_size) const;
  // The same under the lock of `locked`, one of the two, as BPF_F_LOCK asks for.
  void copy_locked(uint8_t* to, const uint8_t* from, uint32_t value_size, uint8_t* locked) const;
  void zero(uint8_t* value) const;
  // What deletion and the update of an array do: timers are cancelled, objects freed.
  void release(uint8_t* value) const;

 private:
  std::vector<SpecialField> fields_;
  std::shared_ptr<const Btf> types_;
  int32_t spin_lock_ = -1;
  int32_t timer_ = -1;
  int32_t refcount_ = -1;
  bool owns_objects_ = false;
};

// Takes and gives back a bpf_spin_lock.
void lock_value(uint8_t* spin_lock);
void unlock_value(uint8_t* spin_lock);

// What BPF_MAP_CREATE answers to the BTF types of key and value that `spec` names: 0 or -errno.
// Sets spec.fields.
int check_map_btf(const std::shared_ptr<const Btf>& types, MapSpec& spec);

}  // namespace xnic::vm
