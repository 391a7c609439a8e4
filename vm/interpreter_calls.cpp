// The interpreter's calls of helpers and kfuncs. What a helper may do with a pointer is checked by
// address, the way the row's argument kinds ask for it: the registers have no types here. Test:
// tests/vm/interpreter_test.cpp, tests/vm/helper_test.cpp, and the kernel comparison.
#include "vm/interpreter_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "vm/dynptr.h"
#include "vm/interpreter.h"
#include "vm/isa.h"
#include "vm/kernel_face.h"
#include "vm/kfunc.h"

namespace xnic::vm {
namespace {

// The rows by program type and id, since one id may mean different things to different types.
const Helper* helper_at(const ProgramType& type, uint32_t id) {
  using Row = std::array<const Helper*, 256>;
  static const std::vector<Row> kByType = [] {
    std::vector<Row> table(program_types().size());
    for (const Helper& helper : helpers()) {
      for (size_t i = 0; i < table.size(); ++i) {
        const bool fits = (helper.program_types & program_types()[i].helper_set) != 0;
        if (fits && helper.id < table[i].size()) table[i][helper.id] = &helper;
      }
    }
    return table;
  }();
  const auto row = static_cast<size_t>(&type - program_types().data());
  return id < kByType[row].size() ? kByType[row][id] : nullptr;
}

}  // namespace

void RunCalls::fault(uint32_t index, std::string_view what) {
  invocation_.fault = fault_at(*program_, index, what);
}

const Map* RunCalls::find_map(const Program& program, uint64_t address) const {
  for (const std::shared_ptr<Map>& map : program.maps()) {
    if (reinterpret_cast<uintptr_t>(map.get()) == address) return map.get();
  }
  for (const std::shared_ptr<Map>& map : inner_maps_) {
    if (reinterpret_cast<uintptr_t>(map.get()) == address) return map.get();
  }
  return nullptr;
}

uint64_t RunCalls::hold(std::shared_ptr<Map> map) {
  const auto address = reinterpret_cast<uintptr_t>(map.get());
  if (map != nullptr && std::ranges::find(inner_maps_, map) == inner_maps_.end()) {
    inner_maps_.push_back(std::move(map));
  }
  return address;
}

void RunCalls::discard_open_records(uint32_t index) {
  RunRecords& records = memory_.records();
  if (records.any_open() == 0) return;
  if (!invocation_.fault) {
    fault(index,
          "ends the run with a ring buffer record neither submitted nor discarded (unreleased "
          "reference)");
  }
  for (uint64_t record = records.any_open(); record != 0; record = records.any_open()) {
    records.close(record);
    find_helper(BPF_FUNC_ringbuf_discard)->function(invocation_, record, 0, 0, 0, 0);
  }
}

void RunCalls::release_lock(uint32_t index) {
  if (invocation_.held_lock == 0) return;
  if (!invocation_.fault) fault(index, "ends the run with a bpf_spin_lock held");
  find_helper(BPF_FUNC_spin_unlock)->function(invocation_, invocation_.held_lock, 0, 0, 0, 0);
}

void RunCalls::clean_up(const Program& program, uint32_t index) {
  program_ = &program;
  discard_open_records(index);
  release_lock(index);
}

std::string RunCalls::check_field(const Helper& helper, uint32_t number, uint64_t address,
                                  SpecialField::Kind kind) {
  const auto holds = [&](const ValueFields& fields, uint64_t start) {
    const SpecialField* field = fields.find(kind, static_cast<int64_t>(address - start));
    return field != nullptr;
  };
  const LocalTypes::Object object = RunMemory::object_around(*program_, address);
  const RunMemory::Value value =
      object.start != nullptr ? RunMemory::Value{} : memory_.value_around(*program_, address);
  const bool is_there = object.start != nullptr
                            ? holds(*object.fields, reinterpret_cast<uintptr_t>(object.start))
                            : value.map != nullptr && holds(value.map->spec().fields, value.start);
  if (!is_there) {
    return fmt::format("gives {} no {} in r{}, but {}", helper.name, name_of(kind), number + 1,
                       memory_.describe(address));
  }
  if (helper.id == BPF_FUNC_spin_lock && invocation_.held_lock != 0) {
    return "takes a second bpf_spin_lock";
  }
  if (helper.id == BPF_FUNC_spin_unlock && invocation_.held_lock != address) {
    return "gives back a bpf_spin_lock that it has not taken";
  }
  return {};
}

std::string RunCalls::check_object(const Helper& helper, uint32_t number, uint64_t address,
                                   bool counted) {
  const LocalTypes::Object object = RunMemory::object_around(*program_, address);
  const bool is_start =
      object.start != nullptr && reinterpret_cast<uintptr_t>(object.start) == address;
  if (is_start && (!counted || object.fields->has_refcount())) return {};
  return fmt::format("gives {} no {}object of the program in r{}", helper.name,
                     counted ? "counted " : "", number + 1);
}

// What lies there may have been written by anybody.
std::string RunCalls::check_dynptr(const Helper& helper, uint32_t number, uint64_t address) {
  if (memory_.may_write(*program_, address, kDynptrBytes)) {
    const Dynptr dynptr = Dynptr::at(address);
    const uint64_t first = dynptr.data + dynptr.offset;
    const bool leads_to_memory =
        dynptr.size == 0 ||
        (dynptr.read_only != 0 ? memory_.may_read(*program_, first, dynptr.size)
                               : memory_.may_write(*program_, first, dynptr.size));
    const bool is_sound =
        dynptr.is_null() ||
        (dynptr.is_of_packet() ? dynptr.data == reinterpret_cast<uintptr_t>(&invocation_.packet)
         : dynptr.is_of(DynptrKind::ringbuf) ? memory_.records().is_open(dynptr.data)
                                             : leads_to_memory);
    const bool fits = helper.arguments[number] != Argument::ended_ringbuf_dynptr ||
                      dynptr.is_null() || dynptr.is_of(DynptrKind::ringbuf);
    if (is_sound && fits) return {};
  }
  return fmt::format("gives {} no dynptr in r{}, but {}", helper.name, number + 1,
                     memory_.describe(address));
}

std::string RunCalls::check_argument(const Helper& helper, uint32_t number, const uint64_t* r,
                                     const Map*& map) {
  const Argument kind = helper.arguments[number];
  const uint64_t value = r[number + 1];
  const auto readable = [&](uint64_t size, std::string_view what) -> std::string {
    if (memory_.may_read(*program_, value, size)) return {};
    return fmt::format("gives {} no {} of {} readable bytes in r{}, but {}", helper.name, what,
                       size, number + 1, memory_.describe(value));
  };
  const auto writable = [&](uint64_t size) -> std::string {
    if (memory_.may_write(*program_, value, size)) return {};
    return fmt::format("gives {} no memory of {} writable bytes in r{}, but {}", helper.name, size,
                       number + 1, memory_.describe(value));
  };
  const auto check_map = [&]() -> std::string {
    map = find_map(*program_, value);
    if (map == nullptr)
      return fmt::format("gives {} no map of the program in r{}", helper.name, number + 1);
    if (!helper_takes_map(helper.id, map->spec().type))
      return fmt::format("calls {} on a map of type {}, which it does not take", helper.name,
                         find_map_type(map->spec().type)->name);
    if (helper_writes_map(helper.id) && (map->spec().flags & BPF_F_RDONLY_PROG) != 0)
      return fmt::format("calls {} on a map that programs may only read", helper.name);
    return {};
  };
  switch (kind) {
    case Argument::none:
    case Argument::any:
    case Argument::ignored:
    case Argument::struct_id:
      return {};
    case Argument::function:
      if (value != 0 && std::ranges::find(program_->subprograms(), value, &Subprogram::start) !=
                            program_->subprograms().end()) {
        return {};
      }
      return fmt::format("gives {} no function of the program in r{}", helper.name, number + 1);
    case Argument::context_or_null:
      if (value == 0) return {};
      [[fallthrough]];
    case Argument::context:
      if (value == reinterpret_cast<uintptr_t>(&invocation_.packet)) return {};
      return fmt::format("gives {} no context in r{}", helper.name, number + 1);
    case Argument::map:
      return check_map();
    case Argument::map_key:
      return readable(map->spec().key_size, "key");
    case Argument::map_value_or_null:
      if (value == 0) return {};
      [[fallthrough]];
    case Argument::map_value:
      return readable(map->spec().value_size, "value");
    case Argument::map_value_out: {
      const uint32_t size = map->spec().value_size;
      if (map->spec().type == BPF_MAP_TYPE_BLOOM_FILTER) return readable(size, "value");
      if (memory_.may_write(*program_, value, size)) return {};
      return fmt::format("gives {} no room for a value of {} bytes in r{}, but {}", helper.name,
                         size, number + 1, memory_.describe(value));
    }
    case Argument::memory_read_or_null:
    case Argument::memory_write_or_null:
      if (value == 0 && r[number + 2] == 0) return {};
      [[fallthrough]];
    case Argument::memory_read:
    case Argument::memory_write: {
      const uint64_t size = r[number + 2];
      if (size == 0 && number < 4 && helper.arguments[number + 1] == Argument::size_or_zero) {
        return {};
      }
      if (size == 0) return fmt::format("gives {} an empty memory in r{}", helper.name, number + 1);
      const bool writes = kind == Argument::memory_write || kind == Argument::memory_write_or_null;
      return writes ? writable(size) : readable(size, "memory");
    }
    case Argument::size:
    case Argument::size_or_zero:
      return {};
    case Argument::read_20:
      return readable(20, "memory");
    case Argument::read_40:
      return readable(40, "memory");
    case Argument::bytes_2:
      return writable(sizeof(uint16_t));
    case Argument::u32_in_out:
    case Argument::bytes_4:
      return writable(sizeof(uint32_t));
    case Argument::u64_out:
    case Argument::bytes_8:
    case Argument::new_iterator:
    case Argument::iterator:
    case Argument::ended_iterator:
      return writable(sizeof(uint64_t));
    case Argument::new_local_dynptr:
    case Argument::new_ringbuf_dynptr:
    case Argument::new_skb_dynptr:
    case Argument::new_xdp_dynptr:
    case Argument::cloned_dynptr:
      return writable(kDynptrBytes);
    case Argument::dynptr:
    case Argument::ended_ringbuf_dynptr:
      return check_dynptr(helper, number, value);
    case Argument::buffer_or_null:
      if (value == 0 || r[number + 2] == 0) return {};
      return writable(static_cast<uint32_t>(r[number + 2]));
    case Argument::slice_size:
      return {};
    case Argument::const_string:
      return memory_.holds_string(*program_, value)
                 ? std::string()
                 : fmt::format("gives {} no constant text in r{}", helper.name, number + 1);
    case Argument::task:
      if (value == kCurrentTask) return {};
      [[fallthrough]];
    case Argument::cgroup:
    case Argument::seq_file:
    case Argument::path:
    case Argument::file:
    case Argument::sk_buff:
      return fmt::format("gives {} no object of the kernel in r{}: there is none here", helper.name,
                         number + 1);
    case Argument::full_socket_or_null:
      if (value == 0) return {};
      [[fallthrough]];
    case Argument::socket:
    case Argument::ended_socket:
      return fmt::format("gives {} no socket in r{}: there is none here", helper.name, number + 1);
    case Argument::record:
      if (memory_.records().is_open(value)) return {};
      return fmt::format("gives {} no open ring buffer record in r{}, but {}", helper.name,
                         number + 1, memory_.describe(value));
    case Argument::spin_lock:
      return check_field(helper, number, value, SpecialField::Kind::spin_lock);
    case Argument::timer:
      return check_field(helper, number, value, SpecialField::Kind::timer);
    case Argument::local_type:
      return {};
    case Argument::dropped_object:
      return check_object(helper, number, value, false);
    case Argument::counted_object:
      return check_object(helper, number, value, true);
    case Argument::ended_object:
      return fmt::format("gives {} no object of the kernel in r{}: there is none here", helper.name,
                         number + 1);
    case Argument::stored_object:
      return value == 0 ? std::string() : check_object(helper, number, value, false);
    case Argument::kptr:
      return check_field(helper, number, value, SpecialField::Kind::kptr);
    case Argument::list_head:
      return check_field(helper, number, value, SpecialField::Kind::list_head);
    case Argument::added_list_node:
      return check_field(helper, number, value, SpecialField::Kind::list_node);
    case Argument::rb_root:
      return check_field(helper, number, value, SpecialField::Kind::rb_root);
    case Argument::added_rb_node:
    case Argument::rb_node:
      return check_field(helper, number, value, SpecialField::Kind::rb_node);
  }
  return {};
}

bool RunCalls::call(const Program& program, uint32_t index, uint64_t* r) {
  program_ = &program;
  const bpf_insn& insn = program.instructions()[index];
  const Helper& helper = insn.src_reg == kPseudoKfuncCall
                             ? find_kfunc(insn.imm, type_.helper_set)->row
                             : *helper_at(type_, static_cast<uint32_t>(insn.imm));
  const Map* map = nullptr;
  for (uint32_t number = 0; number < helper.arguments.size(); ++number) {
    if (helper.arguments[number] == Argument::none) break;
    const std::string objection = check_argument(helper, number, r, map);
    if (!objection.empty()) {
      fault(index, objection);
      return false;
    }
  }
  if (map != nullptr && map->inner_spec() != nullptr) {
    r[0] = hold(map->inner_map(reinterpret_cast<const uint8_t*>(r[2])));
    return true;
  }
  if (helper.arguments[0] == Argument::record) memory_.records().close(r[1]);
  if (helper.arguments[0] == Argument::ended_ringbuf_dynptr) {
    memory_.records().close(Dynptr::at(r[1]).data);
  }
  invocation_.callbacks = &callbacks_;
  r[0] = helper.function(invocation_, r[1], r[2], r[3], r[4], r[5]);
  if (invocation_.fault) return false;
  if (helper.returns == Returns::map_value_or_null && r[0] != 0 && map != nullptr) {
    memory_.grant(r[0], *map);
  }
  if (helper.returns == Returns::record_or_null && r[0] != 0) memory_.records().open(r[0], r[2]);
  if (helper.id == BPF_FUNC_ringbuf_reserve_dynptr) {
    const Dynptr record = Dynptr::at(r[4]);
    if (!record.is_null()) memory_.records().open(record.data, record.size);
  }
  return true;
}

}  // namespace xnic::vm
