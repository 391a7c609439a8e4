#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace xnic::vm {

class Btf;
struct MapSpec;

// The fields of a map's value that belong to the kernel: struct bpf_spin_lock and struct bpf_timer,
// known by their names in BTF. Updates leave them as they are, user space sees zeros.
class ValueFields {
 public:
  struct Field {
    uint32_t offset;  // bytes
    uint32_t size;    // bytes
    bool operator==(const Field&) const = default;
  };
  bool operator==(const ValueFields&) const = default;

  bool empty() const { return fields_.empty(); }
  bool has_spin_lock() const { return spin_lock_ >= 0; }
  bool has_timer() const { return timer_ >= 0; }
  // Of the bpf_spin_lock or bpf_timer, -1 where there is none.
  int32_t spin_lock_offset() const { return spin_lock_; }
  int32_t timer_offset() const { return timer_; }

  void add_spin_lock(uint32_t offset);
  void add_timer(uint32_t offset);

  // Copies a value but for the fields. The two may overlap.
  void copy(uint8_t* to, const uint8_t* from, uint32_t value_size) const;
  // The same under the lock of `locked`, one of the two, as BPF_F_LOCK asks for.
  void copy_locked(uint8_t* to, const uint8_t* from, uint32_t value_size, uint8_t* locked) const;
  void zero(uint8_t* value) const;
  // What deletion and the update of an array do to a timer: it is cancelled.
  void zero_timer(uint8_t* value) const;

 private:
  void add(Field field);

  std::vector<Field> fields_;  // by offset
  int32_t spin_lock_ = -1;
  int32_t timer_ = -1;
};

// Takes and gives back a bpf_spin_lock.
void lock_value(uint8_t* spin_lock);
void unlock_value(uint8_t* spin_lock);

// What BPF_MAP_CREATE answers to the BTF types of key and value that `spec` names: 0 or -errno.
// Sets spec.fields.
int check_map_btf(const Btf& types_blob, MapSpec& spec);

}  // namespace xnic::vm
