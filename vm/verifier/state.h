#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory_resource>
#include <string>
#include <vector>

#include "vm/isa.h"
#include "vm/verifier/register.h"

namespace xnic::vm::verifier {

inline constexpr uint32_t kFramePointer = 10;
inline constexpr uint32_t kSlotBytes = 8;
inline constexpr uint32_t kMaxSlots = kFrameBytes / kSlotBytes;
inline constexpr uint32_t kNoCallSite = UINT32_MAX;

// States come and go every few instructions: StatePool gives them memory that it keeps.
using Allocator = std::pmr::polymorphic_allocator<>;

// What one byte of the stack holds.
enum class Byte : uint8_t {
  unwritten,
  spill,  // part of the slot's register
  misc,   // something
  zero,
  iterator,  // part of an iterator that a loop of the program goes through
};

// Eight bytes of stack. A register is spilled where bytes[0] says so: then its lowest bytes lie in
// the first of the slot's bytes, as many as say so.
struct StackSlot {
  std::array<Byte, kSlotBytes> bytes{};  // by address
  Register value;
  // Of an iterator; value.reference is what has to be released.
  bool drained = false;  // has given its last value
  uint32_t turns = 0;    // values that it has given on this path

  bool has_register() const { return bytes[0] == Byte::spill; }
  bool has_scalar() const { return has_register() && value.is_scalar(); }
  bool has_whole_scalar() const { return has_scalar() && bytes[kSlotBytes - 1] == Byte::spill; }
  bool is_iterator() const {
    return std::ranges::all_of(bytes, [](Byte byte) { return byte == Byte::iterator; });
  }
  // Bytes of the register that lie here.
  uint32_t spilled_bytes() const;
  // Turns what was a register's or an iterator's into bytes of no known value.
  void forget_register();
};

// One call of a function.
struct Frame {
  using allocator_type = Allocator;
  explicit Frame(Allocator memory = {}) : stack(memory) {}
  Frame(const Frame& other, Allocator memory) : Frame(memory) { *this = other; }
  Frame(Frame&& other, Allocator memory) : Frame(memory) { *this = std::move(other); }
  Frame(const Frame&) = default;
  Frame(Frame&&) = default;
  Frame& operator=(const Frame&) = default;
  Frame& operator=(Frame&&) = default;

  std::array<Register, kRegisters> registers;
  std::pmr::vector<StackSlot> stack;  // slot i: the bytes from r10-8*(i+1)
  uint32_t call_site = kNoCallSite;   // the instruction that called it
  uint32_t subprogram = 0;            // its number
  uint32_t callback_depth = 0;        // iterations of a callback that it has started
  bool in_callback = false;
  bool in_async_callback = false;

  Register& operator[](uint32_t number) { return registers[number]; }
  const Register& operator[](uint32_t number) const { return registers[number]; }
  // Makes slots down to r10-`bytes`.
  void grow(uint32_t bytes);
};

// Something acquired that has to be released.
struct Reference {
  uint32_t id;
  uint32_t acquired_at;     // instruction
  uint32_t callback_frame;  // the callback's frame that acquired it; 0: none
};

// Numbers that one instruction related, for Precision.
struct LinkedRegister {
  uint8_t frame;
  bool is_slot;
  uint8_t number;  // of the register or slot
};

// As many as Linux keeps of one instruction.
class LinkedRegisters {
 public:
  static constexpr size_t kMost = 6;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == kMost; }
  void push_back(LinkedRegister r) { registers_[size_++] = r; }
  const LinkedRegister* begin() const { return registers_.data(); }
  const LinkedRegister* end() const { return begin() + size_; }

 private:
  std::array<LinkedRegister, kMost> registers_{};
  uint8_t size_ = 0;
};

// What Precision must know of an instruction of a path beside the path itself.
struct Step {
  uint32_t index;
  uint32_t previous;
  int16_t slot = -1;  // accessed stack slot of `frame`
  uint8_t frame = 0;
  bool left_is_stack = false;  // of a comparison
  bool right_is_stack = false;
  LinkedRegisters linked{};
};

// What is known at one point of one path.
struct State {
  explicit State(Allocator memory = {}) : frames(memory), references(memory), steps(memory) {}

  std::pmr::vector<Frame> frames;
  std::pmr::vector<Reference> references;
  uint32_t lock_id = 0;  // of the value whose spin lock is held
  const void* lock_map = nullptr;
  uint32_t no_preemption = 0;  // regions without preemption that are open
  bool in_rcu = false;         // in a read-side section
  uint32_t may_goto_depth = 0;
  uint32_t callback_depth = 0;

  // The path that led here from `parent`, the last checkpoint.
  State* parent = nullptr;
  std::pmr::vector<Step> steps;
  uint32_t branches = 1;  // paths from here that are not finished; of a checkpoint
  uint32_t index = 0;     // instruction
  uint32_t first_index = 0;
  uint32_t last_index = 0;  // of the instruction before the checkpoint
  bool at_entry = false;    // last_index is none: a function begins here

  // Of a checkpoint.
  bool cleaned = false;
  bool listed = false;
  uint32_t hits = 0;
  uint32_t misses = 0;
  size_t place = 0;  // among those that Explored holds

  size_t counted_bytes = 0;  // by StatePool

  Frame& frame() { return frames.back(); }
  const Frame& frame() const { return frames.back(); }
  uint32_t depth() const { return static_cast<uint32_t>(frames.size()) - 1; }
  Register& operator[](uint32_t number) { return frames.back()[number]; }
  // Where frame `number` goes on, or stands if it is the innermost.
  uint32_t index_in(uint32_t number) const {
    return number + 1 < frames.size() ? frames[number + 1].call_site : index;
  }

  // Calls `visit` with every register and spilled register.
  template <class Visit>
  void for_each(Visit visit) {
    for (Frame& frame : frames) {
      for (Register& r : frame.registers) visit(r);
      for (StackSlot& slot : frame.stack) {
        if (slot.has_register()) visit(slot.value);
      }
    }
  }
  bool has_reference(uint32_t id) const;
};

bool same_call_sites(const State& a, const State& b);

// The innermost frame as the kernel's log writes it: "R1=ctx() R10=fp0 fp-8=mmmmmmmm".
std::string describe(const State& state);

}  // namespace xnic::vm::verifier
