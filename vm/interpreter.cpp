// The interpreter: a switch over the 8-byte instructions as they are, with registers in an array.
// Pointers are host addresses; every access is checked (vm/interpreter_memory.h), and one that
// falls into the context is answered by the program type's table of fields. It leaves out what
// needs the types of registers: what a helper may do with a pointer is checked by address only.
// Test: tests/vm/interpreter_test.cpp, which also asks the kernel; it is the gold standard for
// tests/jit/jit_test.cpp.
#include "vm/interpreter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "vm/helper.h"
#include "vm/interpreter_alu.h"
#include "vm/interpreter_atomics.h"
#include "vm/interpreter_memory.h"
#include "vm/interpreter_packet.h"
#include "vm/invocation.h"
#include "vm/isa.h"
#include "vm/program_type.h"

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

// A subprogram's caller, as it goes on after the call.
struct Caller {
  const Program* program;
  uint32_t next;
  std::array<uint64_t, 5> saved;  // r6 to r10
  uint32_t loops;                 // what is left to its may_goto
};

class Run : public Callbacks {
 public:
  Run(const Program& program, Invocation& invocation)
      : program_(&program),
        type_(*find_program_type(program.type())),
        invocation_(invocation),
        memory_(invocation.packet) {}

  uint64_t execute();
  void execute_callback(uint64_t function, Map& map, std::span<const uint8_t> key, uint8_t* value);

 private:
  // Where a tail call leads: to another program, or on to the next instruction.
  enum class TailCall { taken, not_taken, fault };

  bool in_context(uint64_t address) const {
    return address - reinterpret_cast<uintptr_t>(&invocation_.packet) < type_.context_size;
  }
  uint32_t context_offset(uint64_t address) const {
    return static_cast<uint32_t>(address - reinterpret_cast<uintptr_t>(&invocation_.packet));
  }

  template <class T>
  bool load(uint64_t address, uint64_t& value) {
    if (memory_.may_read(*program_, address, sizeof(T))) {
      T bytes;
      std::memcpy(&bytes, reinterpret_cast<const void*>(address), sizeof(T));
      value = bytes;
      return true;
    }
    return in_context(address) &&
           type_.load(invocation_.packet, context_offset(address), sizeof(T), value);
  }

  template <class T>
  bool load_signed(uint64_t address, uint64_t& value) {
    if (!load<T>(address, value)) return false;
    value = static_cast<uint64_t>(static_cast<int64_t>(static_cast<std::make_signed_t<T>>(value)));
    return true;
  }

  template <class T>
  bool store(uint64_t address, uint64_t value) {
    if (memory_.may_write(*program_, address, sizeof(T))) {
      const T bytes = static_cast<T>(value);
      std::memcpy(reinterpret_cast<void*>(address), &bytes, sizeof(T));
      return true;
    }
    return in_context(address) && type_.store(invocation_.packet, context_offset(address),
                                              sizeof(T), static_cast<T>(value));
  }

  bool call_helper(uint32_t index, uint64_t* r);
  // Runs from `start` until the function there returns, on a fresh frame; leaves r0 in r[0].
  uint32_t run_function(uint32_t start, uint64_t* r);
  uint64_t call(uint64_t function, const std::array<uint64_t, 5>& arguments) override;
  void grant_value(const Map& map, const uint8_t* value) override {
    memory_.grant(reinterpret_cast<uintptr_t>(value), map);
  }
  const Program& program() const override { return *program_; }
  void lend(const uint8_t* start, uint64_t size) override {
    memory_.lend(reinterpret_cast<uintptr_t>(start), size);
  }
  void take_back() override { memory_.take_back(); }
  TailCall tail_call(uint32_t index, uint64_t* r);
  // A sentence on what is wrong with an argument; empty if nothing is.
  std::string check_argument(const Helper& helper, uint32_t number, const uint64_t* r,
                             const Map*& map);
  const Map* find_map(uint64_t address) const;
  // Keeps an inner map for the rest of the run; gives its address, 0 for null.
  uint64_t hold(std::shared_ptr<Map> map);
  // Ends what the program should have ended itself, at instruction `index`; a fault, unless there
  // is one already.
  void clean_up(uint32_t index);
  void discard_open_records(uint32_t index);
  void release_lock(uint32_t index);
  // Whether the address is that of the field at `offset` (-1: none) of a map value.
  std::string check_field(const Helper& helper, uint32_t number, uint64_t address,
                          int32_t (ValueFields::*offset)() const, std::string_view what);

  void fault(uint32_t index, std::string_view what) {
    invocation_.fault = Fault{program_->id, index,
                              fmt::format("program {}, {}: {}", program_->name(),
                                          describe_instruction(*program_, index), what)};
  }
  void access_fault(uint32_t index, const uint64_t* r);

  const Program* program_;
  const ProgramType& type_;
  Invocation& invocation_;
  RunMemory memory_;
  std::vector<Caller> callers_;
  uint32_t tail_calls_ = 0;
  uint64_t count_ = 0;  // instructions so far, kept here while a helper runs
  std::vector<std::shared_ptr<const Program>> tail_called_;  // kept alive until the run ends
  std::vector<std::shared_ptr<Map>> inner_maps_;             // found in maps of maps; likewise
};

// The fault of a load, store or atomic that was refused.
void Run::access_fault(uint32_t index, const uint64_t* r) {
  const bpf_insn& insn = program_->instructions()[index];
  const Opcode& op = opcode(insn);
  const bool acquires = op.kind == Kind::atomic && insn.imm == kLoadAcquire;
  const bool reads = op.kind == Kind::load || op.kind == Kind::load_signed || acquires;
  const uint64_t address = r[reads ? insn.src_reg : insn.dst_reg] + static_cast<uint64_t>(insn.off);
  const bool updates = op.kind == Kind::atomic && !is_ordered_access(insn);
  const std::string_view verb = updates ? "updates" : reads ? "reads" : "writes";
  const uint32_t width = op.width;
  if (in_context(address)) {
    fault(index, fmt::format("{} {} bytes at offset {} of the context, which {} programs may not",
                             verb, width, context_offset(address), type_.name));
  } else if (op.kind == Kind::atomic && address % width != 0) {
    fault(index,
          fmt::format("{} {} bytes at an address that is no multiple of {}", verb, width, width));
  } else {
    fault(index, fmt::format("{} {} bytes at {}", verb, width, memory_.describe(address)));
  }
}

const Map* Run::find_map(uint64_t address) const {
  for (const std::shared_ptr<Map>& map : program_->maps()) {
    if (reinterpret_cast<uintptr_t>(map.get()) == address) return map.get();
  }
  for (const std::shared_ptr<Map>& map : inner_maps_) {
    if (reinterpret_cast<uintptr_t>(map.get()) == address) return map.get();
  }
  return nullptr;
}

uint64_t Run::hold(std::shared_ptr<Map> map) {
  const auto address = reinterpret_cast<uintptr_t>(map.get());
  if (map != nullptr && std::ranges::find(inner_maps_, map) == inner_maps_.end()) {
    inner_maps_.push_back(std::move(map));
  }
  return address;
}

void Run::discard_open_records(uint32_t index) {
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

void Run::release_lock(uint32_t index) {
  if (invocation_.held_lock == 0) return;
  if (!invocation_.fault) fault(index, "ends the run with a bpf_spin_lock held");
  find_helper(BPF_FUNC_spin_unlock)->function(invocation_, invocation_.held_lock, 0, 0, 0, 0);
}

void Run::clean_up(uint32_t index) {
  discard_open_records(index);
  release_lock(index);
}

std::string Run::check_field(const Helper& helper, uint32_t number, uint64_t address,
                             int32_t (ValueFields::*offset)() const, std::string_view what) {
  const RunMemory::Value value = memory_.value_around(*program_, address);
  const int32_t at = value.map != nullptr ? (value.map->spec().fields.*offset)() : -1;
  if (at < 0 || address != value.start + static_cast<uint32_t>(at)) {
    return fmt::format("gives {} no {} of a map value in r{}, but {}", helper.name, what,
                       number + 1, memory_.describe(address));
  }
  if (helper.id == BPF_FUNC_spin_lock && invocation_.held_lock != 0) {
    return "takes a second bpf_spin_lock";
  }
  if (helper.id == BPF_FUNC_spin_unlock && invocation_.held_lock != address) {
    return "gives back a bpf_spin_lock that it has not taken";
  }
  return {};
}

std::string Run::check_argument(const Helper& helper, uint32_t number, const uint64_t* r,
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
    map = find_map(value);
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
      return {};
    case Argument::function:
      if (value != 0 && std::ranges::find(program_->subprograms(), value, &Subprogram::start) !=
                            program_->subprograms().end()) {
        return {};
      }
      return fmt::format("gives {} no function of the program in r{}", helper.name, number + 1);
    case Argument::context:
      if (value == reinterpret_cast<uintptr_t>(&invocation_.packet)) return {};
      return fmt::format("gives {} no context in r{}", helper.name, number + 1);
    case Argument::map:
      return check_map();
    case Argument::map_key:
      return readable(map->spec().key_size, "key");
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
    case Argument::u32_in_out:
      return writable(sizeof(uint32_t));
    case Argument::u64_out:
      return writable(sizeof(uint64_t));
    case Argument::const_string:
      return memory_.holds_string(*program_, value)
                 ? std::string()
                 : fmt::format("gives {} no constant text in r{}", helper.name, number + 1);
    case Argument::record:
      if (memory_.records().is_open(value)) return {};
      return fmt::format("gives {} no open ring buffer record in r{}, but {}", helper.name,
                         number + 1, memory_.describe(value));
    case Argument::spin_lock:
      return check_field(helper, number, value, &ValueFields::spin_lock_offset, "bpf_spin_lock");
    case Argument::timer:
      return check_field(helper, number, value, &ValueFields::timer_offset, "bpf_timer");
  }
  return {};
}

bool Run::call_helper(uint32_t index, uint64_t* r) {
  const Helper& helper =
      *helper_at(type_, static_cast<uint32_t>(program_->instructions()[index].imm));
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
  invocation_.callbacks = this;
  r[0] = helper.function(invocation_, r[1], r[2], r[3], r[4], r[5]);
  if (invocation_.fault) return false;
  if (helper.returns == Returns::map_value_or_null && r[0] != 0 && map != nullptr) {
    memory_.grant(r[0], *map);
  }
  if (helper.returns == Returns::record_or_null && r[0] != 0) memory_.records().open(r[0], r[2]);
  return true;
}

Run::TailCall Run::tail_call(uint32_t index, uint64_t* r) {
  const Map* map = find_map(r[2]);
  if (map == nullptr || map->spec().type != BPF_MAP_TYPE_PROG_ARRAY) {
    fault(index, "gives bpf_tail_call no prog_array of the program in r2");
    return TailCall::fault;
  }
  if (r[1] != reinterpret_cast<uintptr_t>(&invocation_.packet)) {
    fault(index, "gives bpf_tail_call no context in r1");
    return TailCall::fault;
  }
  if (memory_.records().any_open() != 0) {
    fault(index, "would leave a ring buffer record neither submitted nor discarded");
    return TailCall::fault;
  }
  if (invocation_.held_lock != 0) {
    fault(index, "would leave with a bpf_spin_lock held");
    return TailCall::fault;
  }
  if (tail_calls_ >= kMaxTailCalls) return TailCall::not_taken;
  std::shared_ptr<const Program> target = map->program_at(static_cast<uint32_t>(r[3]));
  if (target == nullptr) return TailCall::not_taken;
  ++tail_calls_;
  program_ = target.get();
  tail_called_.push_back(std::move(target));
  return TailCall::taken;
}

// One operation at both widths, with a register or an immediate as second operand.
#define XNIC_ALU(OPERATION, FUNCTION)                                                            \
  case BPF_ALU64 | OPERATION | BPF_X:                                                            \
    r[insn.dst_reg] = alu::FUNCTION<uint64_t>(r[insn.dst_reg], r[insn.src_reg], insn.off);       \
    break;                                                                                       \
  case BPF_ALU64 | OPERATION | BPF_K:                                                            \
    r[insn.dst_reg] =                                                                            \
        alu::FUNCTION<uint64_t>(r[insn.dst_reg], static_cast<uint64_t>(insn.imm), insn.off);     \
    break;                                                                                       \
  case BPF_ALU | OPERATION | BPF_X:                                                              \
    r[insn.dst_reg] = alu::FUNCTION<uint32_t>(static_cast<uint32_t>(r[insn.dst_reg]),            \
                                              static_cast<uint32_t>(r[insn.src_reg]), insn.off); \
    break;                                                                                       \
  case BPF_ALU | OPERATION | BPF_K:                                                              \
    r[insn.dst_reg] = alu::FUNCTION<uint32_t>(static_cast<uint32_t>(r[insn.dst_reg]),            \
                                              static_cast<uint32_t>(insn.imm), insn.off);        \
    break;

// A comparison at both widths, of 64-bit operands as type A and of 32-bit ones as type B.
#define XNIC_JUMP(OPERATION, COMPARE, A, B)                                            \
  case BPF_JMP | OPERATION | BPF_X:                                                    \
    taken = static_cast<A>(r[insn.dst_reg]) COMPARE static_cast<A>(r[insn.src_reg]);   \
    goto jump;                                                                         \
  case BPF_JMP | OPERATION | BPF_K:                                                    \
    taken = static_cast<A>(r[insn.dst_reg]) COMPARE static_cast<A>(int64_t{insn.imm}); \
    goto jump;                                                                         \
  case BPF_JMP32 | OPERATION | BPF_X:                                                  \
    taken = static_cast<B>(r[insn.dst_reg]) COMPARE static_cast<B>(r[insn.src_reg]);   \
    goto jump;                                                                         \
  case BPF_JMP32 | OPERATION | BPF_K:                                                  \
    taken = static_cast<B>(r[insn.dst_reg]) COMPARE static_cast<B>(insn.imm);          \
    goto jump;

#define XNIC_MEMORY(SIZE, T)                                                             \
  case BPF_LDX | BPF_MEM | SIZE:                                                         \
    if (!load<T>(r[insn.src_reg] + static_cast<uint64_t>(insn.off), r[insn.dst_reg])) {  \
      goto bad_access;                                                                   \
    }                                                                                    \
    break;                                                                               \
  case BPF_STX | BPF_MEM | SIZE:                                                         \
    if (!store<T>(r[insn.dst_reg] + static_cast<uint64_t>(insn.off), r[insn.src_reg])) { \
      goto bad_access;                                                                   \
    }                                                                                    \
    break;                                                                               \
  case BPF_ST | BPF_MEM | SIZE:                                                          \
    if (!store<T>(r[insn.dst_reg] + static_cast<uint64_t>(insn.off),                     \
                  static_cast<uint64_t>(insn.imm))) {                                    \
      goto bad_access;                                                                   \
    }                                                                                    \
    break;

#define XNIC_LOAD_SIGNED(SIZE, T)                                                              \
  case BPF_LDX | kModeSigned | SIZE:                                                           \
    if (!load_signed<T>(r[insn.src_reg] + static_cast<uint64_t>(insn.off), r[insn.dst_reg])) { \
      goto bad_access;                                                                         \
    }                                                                                          \
    break;

uint64_t Run::execute() {
  // The fields of an instruction can name 16 registers; the verifier lets 11 through.
  uint64_t r[16] = {};
  r[1] = reinterpret_cast<uintptr_t>(&invocation_.packet);
  clean_up(run_function(0, r));
  invocation_.instructions += count_;
  return r[0];
}

void Run::execute_callback(uint64_t function, Map& map, std::span<const uint8_t> key,
                           uint8_t* value) {
  uint64_t r[16] = {};
  r[1] = reinterpret_cast<uintptr_t>(&map);
  r[2] = reinterpret_cast<uintptr_t>(key.data());
  r[3] = reinterpret_cast<uintptr_t>(value);
  grant_value(map, value);
  lend(key.data(), key.size());
  clean_up(run_function(static_cast<uint32_t>(function), r));
  invocation_.instructions += count_;
}

uint64_t Run::call(uint64_t function, const std::array<uint64_t, 5>& arguments) {
  uint64_t r[16] = {};
  std::copy(arguments.begin(), arguments.end(), &r[1]);
  // A function may leave through a tail call, which ends with the function, too.
  const Program* const program = program_;
  if (memory_.frames() == RunMemory::kFrames) {
    fault(static_cast<uint32_t>(function),
          fmt::format("is called deeper than {} frames", RunMemory::kFrames));
    return 0;
  }
  run_function(static_cast<uint32_t>(function), r);
  program_ = program;
  return r[0];
}

uint32_t Run::run_function(uint32_t start, uint64_t* r) {
  const size_t outermost = callers_.size();
  r[10] = memory_.push_frame();
  const bpf_insn* code = program_->instructions().data();
  uint64_t count = count_;
  uint32_t loops = kMaxLoops;
  uint32_t at = start;
  uint32_t next = start;

  for (;;) {
    at = next;
    const bpf_insn insn = code[at];
    ++next;
    ++count;
    bool taken = false;
    switch (insn.code) {
      XNIC_ALU(BPF_ADD, add)
      XNIC_ALU(BPF_SUB, subtract)
      XNIC_ALU(BPF_MUL, multiply)
      XNIC_ALU(BPF_DIV, divide)
      XNIC_ALU(BPF_MOD, modulo)
      XNIC_ALU(BPF_OR, bit_or)
      XNIC_ALU(BPF_AND, bit_and)
      XNIC_ALU(BPF_XOR, bit_xor)
      XNIC_ALU(BPF_LSH, shift_left)
      XNIC_ALU(BPF_RSH, shift_right)
      XNIC_ALU(BPF_ARSH, shift_right_signed)
      XNIC_ALU(BPF_MOV, move)
      case BPF_ALU64 | BPF_NEG:
        r[insn.dst_reg] = -r[insn.dst_reg];
        break;
      case BPF_ALU | BPF_NEG:
        r[insn.dst_reg] = -static_cast<uint32_t>(r[insn.dst_reg]);
        break;
      case BPF_ALU | BPF_END | BPF_TO_LE:
        r[insn.dst_reg] = alu::to_little_endian(r[insn.dst_reg], insn.imm);
        break;
      case BPF_ALU | BPF_END | BPF_TO_BE:
        r[insn.dst_reg] = alu::to_big_endian(r[insn.dst_reg], insn.imm);
        break;
      case BPF_ALU64 | BPF_END | BPF_TO_LE:
        r[insn.dst_reg] = alu::swap_bytes(r[insn.dst_reg], insn.imm);
        break;
      case BPF_LD | BPF_IMM | BPF_DW:
        r[insn.dst_reg] = immediate64(insn, code[next]);
        ++next;
        break;
        XNIC_MEMORY(BPF_B, uint8_t)
        XNIC_MEMORY(BPF_H, uint16_t)
        XNIC_MEMORY(BPF_W, uint32_t)
        XNIC_MEMORY(BPF_DW, uint64_t)
        XNIC_LOAD_SIGNED(BPF_B, uint8_t)
        XNIC_LOAD_SIGNED(BPF_H, uint16_t)
        XNIC_LOAD_SIGNED(BPF_W, uint32_t)
      case BPF_LD | BPF_ABS | BPF_B:
      case BPF_LD | BPF_ABS | BPF_H:
      case BPF_LD | BPF_ABS | BPF_W:
      case BPF_LD | BPF_IND | BPF_B:
      case BPF_LD | BPF_IND | BPF_H:
      case BPF_LD | BPF_IND | BPF_W:
        if (r[6] != reinterpret_cast<uintptr_t>(&invocation_.packet)) {
          fault(at, "finds no context in r6");
          goto end;
        }
        if (load_packet(invocation_.packet, insn, r)) break;
        r[0] = 0;
        goto leave;
      case BPF_STX | BPF_ATOMIC | BPF_W:
        if (!atomic<uint32_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
      case BPF_STX | BPF_ATOMIC | BPF_B:
        if (!ordered_access<uint8_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
      case BPF_STX | BPF_ATOMIC | BPF_H:
        if (!ordered_access<uint16_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
      case BPF_STX | BPF_ATOMIC | BPF_DW:
        if (!atomic<uint64_t>(memory_, *program_, insn, r)) goto bad_access;
        break;
        XNIC_JUMP(BPF_JEQ, ==, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JNE, !=, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JGT, >, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JGE, >=, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JLT, <, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JLE, <=, uint64_t, uint32_t)
        XNIC_JUMP(BPF_JSGT, >, int64_t, int32_t)
        XNIC_JUMP(BPF_JSGE, >=, int64_t, int32_t)
        XNIC_JUMP(BPF_JSLT, <, int64_t, int32_t)
        XNIC_JUMP(BPF_JSLE, <=, int64_t, int32_t)
        XNIC_JUMP(BPF_JSET, &, uint64_t, uint32_t)
      case BPF_JMP | BPF_JA:
        next = at + 1 + static_cast<uint32_t>(insn.off);
        if (insn.off < 0 && count > kRunLimit) goto past_limit;
        break;
      case BPF_JMP32 | BPF_JA:
        next = at + 1 + static_cast<uint32_t>(insn.imm);
        if (insn.imm < 0 && count > kRunLimit) goto past_limit;
        break;
      case BPF_JMP | kJumpCounted:
        taken = loops == 0;
        loops -= taken ? 0 : 1;
        goto jump;
      jump:
        if (!taken) break;
        next = at + 1 + static_cast<uint32_t>(insn.off);
        if (insn.off < 0 && count > kRunLimit) goto past_limit;
        break;
      case BPF_JMP | BPF_CALL:
        if (count > kRunLimit) goto past_limit;
        if (insn.src_reg == BPF_PSEUDO_CALL) {
          if (memory_.frames() == RunMemory::kFrames) {
            fault(at, fmt::format("calls deeper than {} frames", RunMemory::kFrames));
            goto end;
          }
          callers_.push_back({program_, next, {r[6], r[7], r[8], r[9], r[10]}, loops});
          loops = kMaxLoops;
          next = at + 1 + static_cast<uint32_t>(insn.imm);
          r[10] = memory_.push_frame();
          break;
        }
        if (is_poisoned_call(insn)) {
          fault(at, "needs a type, field or function that this kernel does not have");
          goto end;
        }
        if (insn.imm != BPF_FUNC_tail_call) {
          count_ = count;
          taken = call_helper(at, r);
          count = count_;
          if (!taken) goto end;
          break;
        }
        switch (tail_call(at, r)) {
          case TailCall::taken:
            code = program_->instructions().data();
            next = 0;
            loops = kMaxLoops;
            memory_.clear_frame();
            break;
          case TailCall::not_taken:
            break;
          case TailCall::fault:
            goto end;
        }
        break;
      leave:
      case BPF_JMP | BPF_EXIT: {
        if (callers_.size() == outermost) goto end;
        const Caller& caller = callers_.back();
        program_ = caller.program;
        code = program_->instructions().data();
        next = caller.next;
        loops = caller.loops;
        std::copy(caller.saved.begin(), caller.saved.end(), &r[6]);
        callers_.pop_back();
        memory_.pop_frame();
        break;
      }
      default:
        fault(at, "is not an instruction that the interpreter knows");
        goto end;
    }
    continue;
  bad_access:
    access_fault(at, r);
    break;
  past_limit:
    invocation_.fault = run_limit_fault(*program_, at);
    break;
  }
end:
  count_ = count;
  memory_.pop_frame();
  return at;
}

#undef XNIC_ALU
#undef XNIC_JUMP
#undef XNIC_MEMORY
#undef XNIC_LOAD_SIGNED

class InterpreterCode : public Code {
 public:
  explicit InterpreterCode(const Program& program) : program_(program) {}
  uint64_t run(Invocation& invocation) const override {
    return Run(program_, invocation).execute();
  }

 private:
  const Program& program_;
};

}  // namespace

void run_callback(const Program& program, Invocation& invocation, uint64_t function, Map& map,
                  std::span<const uint8_t> key, uint8_t* value) {
  Run(program, invocation).execute_callback(function, map, key, value);
}

Fault run_limit_fault(const Program& program, uint32_t instruction) {
  return Fault{program.id, instruction,
               fmt::format("program {}, {}: has run more than {} instructions, which looks like a "
                           "loop that does not end",
                           program.name(), describe_instruction(program, instruction), kRunLimit)};
}

std::unique_ptr<Code> Interpreter::compile(const Program& program) {
  return std::make_unique<InterpreterCode>(program);
}

}  // namespace xnic::vm
