#pragma once

#include <optional>
#include <string>
#include <vector>

#include "vm/verifier/dynptrs.h"
#include "vm/verifier/environment.h"
#include "vm/verifier/iterators.h"
#include "vm/verifier/requirements.h"

namespace xnic::vm::verifier {

// One call of a helper: what it requires of its arguments, by the helper's row, then what it does
// to the state.
class Call {
 public:
  Call(Environment& env, const bpf_insn& insn, const Helper& helper)
      : env_(env), insn_(insn), helper_(helper) {}

  Verdict require();
  Verdict apply();

 private:
  // Stack that the helper reads or writes.
  struct Lent {
    uint32_t number;
    uint32_t size;
    bool writable;
  };

  template <class... Types>
  Verdict require_type(uint32_t number, Types... types) const {
    const Register& r = env_.reg(number);
    if (!r.maybe_null && ((r.type == types) || ...)) return {};
    if (r.type == Type::kernel_object && r.target == 0) {
      return refuse(EACCES, "R{} points to a struct that is not known to the kernel", number);
    }
    Register expected;
    std::string names;
    ((expected.type = types, names += (names.empty() ? "" : ", ") + type_name(expected)), ...);
    return refuse(EACCES, "R{} type={} expected={}", number, type_name(r), names);
  }
  Verdict require_memory_type(uint32_t number) const;
  // Memory of a size that is known.
  Verdict require_memory(uint32_t number, uint32_t size, Direction direction, bool may_be_empty,
                         bool fills = false);
  Verdict require_argument(uint32_t position);
  Verdict require_map_known(std::string_view what) const;
  Verdict require_key(uint32_t number);
  Verdict require_value(uint32_t number, bool out);
  Verdict require_fixed(uint32_t number, uint32_t size, bool fills);
  Verdict require_read(uint32_t number, uint32_t size);
  Verdict require_bytes(uint32_t number, uint32_t size);
  Verdict require_acquired(uint32_t number);
  Verdict require_struct_id(uint32_t number);
  Verdict require_object(uint32_t number, std::string_view name) const;
  Verdict require_size(uint32_t position);
  Verdict require_slice_size(uint32_t position);
  Verdict require_dynptr_argument(uint32_t number, Argument kind);
  Verdict require_record_size();
  Verdict require_string(uint32_t number);
  // The value whose lock or timer an argument names.
  Verdict require_field(uint32_t number, int32_t field, std::string_view name) const;
  Verdict require_lock(uint32_t number);
  Verdict require_own_lock(uint32_t number) const;
  Verdict require_timer(uint32_t number);
  // Objects of the program: vm/verifier/local_objects.cpp.
  Verdict require_local_type(uint32_t number);
  Verdict require_dropped_object(uint32_t number);
  Verdict require_counted_object(uint32_t number);
  Verdict require_locked(const Register& r, SpecialField::Kind kind) const;
  Verdict require_root(uint32_t number, SpecialField::Kind kind);
  Verdict require_node(uint32_t number, SpecialField::Kind kind);
  Verdict require_added_node(uint32_t number, SpecialField::Kind kind);
  Verdict require_tree_node(uint32_t number);
  Verdict require_kptr(uint32_t number);
  Verdict require_stored_object(uint32_t number);
  void give_object();
  Register object_result();
  bool has_sockmap() const;
  bool changes_sockets() const;
  // Linux knows that a constant key below max_entries is found in an array.
  void find_constant_key(uint32_t number);
  void note_proof();
  // The helper writes every byte.
  void fill(const Lent& memory);
  Verdict call_back();
  Register result(const Register& second);
  Register acquired(Type type);
  Register same_socket(Type type, uint32_t reference);

  Environment& env_;
  const bpf_insn& insn_;
  const Helper& helper_;
  const MapSpec* map_ = nullptr;
  uint32_t map_id_ = 0;
  bool timer_map_ = false;
  const Register* callback_ = nullptr;
  uint32_t reference_ = 0;
  uint32_t released_ = 0;
  uint32_t given_ = 0;                  // the reference of an object that a list or tree is given
  uint32_t object_type_ = 0;            // of the object that results
  uint32_t kernel_type_ = 0;            // of the kptr, if it points to an object of the kernel
  bool is_owned_ = false;               // by the program, already
  const SpecialField* root_ = nullptr;  // the list head, root or kptr argument
  std::optional<uint64_t> key_;
  std::optional<IteratorUse> iterator_;
  std::optional<DynptrUse> dynptr_;      // that is used
  std::optional<DynptrUse> new_dynptr_;  // that begins
  uint32_t slice_size_ = 0;
  uint32_t struct_id_ = 0;   // of the kernel's types
  uint64_t most_bytes_ = 0;  // by the size argument
  std::vector<Lent> lent_;
  std::vector<Lent> filled_;
};

}  // namespace xnic::vm::verifier
