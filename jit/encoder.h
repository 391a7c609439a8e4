#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>
#include <vector>

#include <asmjit/x86.h>

namespace xnic::jit {

// A place in the code that jumps lead to; of which there are as many as an Encoder made.
struct Label {
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t number = kNone;
  bool is_valid() const { return number != kNone; }
};

// asmjit's Assembler, and beside it the few forms that make up most of every program written at
// once as bytes, which takes a fifth of the time (AMD64 Architecture Programmer's Manual, volume
// 3). Jumps are among these, with labels of their own. The operands are of 4 or 8 bytes where
// nothing else is said; a memory operand has no index, and its base is neither rsp nor r12. Test:
// tests/jit.
class Encoder : public asmjit::x86::Assembler {
 public:
  using Gp = asmjit::x86::Gp;
  using asmjit::x86::Assembler::Assembler;

  // Operations between two registers, by their opcode with the destination in r/m.
  enum class Binary : uint8_t {
    add = 0x01,
    or_ = 0x09,
    and_ = 0x21,
    sub = 0x29,
    xor_ = 0x31,
    cmp = 0x39,
    test = 0x85,
    mov = 0x89,
  };
  void binary(Binary operation, const Gp& to, const Gp& from) {
    write([&](uint8_t* at) {
      at = rex(at, to.size() == 8, from.id(), to.id());
      *at++ = static_cast<uint8_t>(operation);
      return registers(at, from.id(), to.id());
    });
  }
  // The first six, with an immediate.
  void binary(Binary operation, const Gp& to, int32_t immediate) {
    const bool is_short = immediate == static_cast<int8_t>(immediate);
    write([&](uint8_t* at) {
      at = rex(at, to.size() == 8, 0, to.id());
      *at++ = is_short ? 0x83 : 0x81;
      at = registers(at, static_cast<uint8_t>(operation) >> 3, to.id());
      return is_short ? value(at, static_cast<int8_t>(immediate)) : value(at, immediate);
    });
  }
  void multiply(const Gp& to, const Gp& by) {
    write([&](uint8_t* at) {
      at = rex(at, to.size() == 8, to.id(), by.id());
      *at++ = 0x0f;
      *at++ = 0xaf;
      return registers(at, to.id(), by.id());
    });
  }
  void multiply(const Gp& to, int32_t by) {
    const bool is_short = by == static_cast<int8_t>(by);
    write([&](uint8_t* at) {
      at = rex(at, to.size() == 8, to.id(), to.id());
      *at++ = is_short ? 0x6b : 0x69;
      at = registers(at, to.id(), to.id());
      return is_short ? value(at, static_cast<int8_t>(by)) : value(at, by);
    });
  }

  enum class Shift : uint8_t { left = 4, right = 5, signed_right = 7 };
  void shift_by(Shift operation, const Gp& reg, uint8_t bits) {
    write([&](uint8_t* at) {
      at = rex(at, reg.size() == 8, 0, reg.id());
      *at++ = 0xc1;
      at = registers(at, static_cast<uint8_t>(operation), reg.id());
      return value(at, bits);
    });
  }

  // Any value, zero and the flags included, in all 64 bits of the register.
  void set(const Gp& reg, uint64_t to) {
    const uint32_t id = reg.id();
    if (to == 0) return binary(Binary::xor_, reg.r32(), reg.r32());
    write([&](uint8_t* at) {
      const bool is_short = to <= UINT32_MAX;
      at = rex(at, !is_short, 0, id);
      *at++ = static_cast<uint8_t>(0xb8 | (id & 7));
      return is_short ? value(at, static_cast<uint32_t>(to)) : value(at, to);
    });
  }

  // Loads `size` bytes (1, 2, 4, 8) and clears the rest of the register.
  void load(const Gp& to, const Gp& base, int32_t offset, uint32_t size) {
    write([&](uint8_t* at) {
      at = rex(at, size == 8, to.id(), base.id());
      if (size < 4) *at++ = 0x0f;
      *at++ = size == 1 ? 0xb6 : size == 2 ? 0xb7 : 0x8b;
      return memory(at, to.id(), base.id(), offset);
    });
  }
  void store(const Gp& base, int32_t offset, const Gp& from, uint32_t size) {
    write([&](uint8_t* at) {
      if (size == 2) *at++ = 0x66;
      // Without a prefix, the numbers of four registers mean the second bytes of four others.
      at = rex(at, size == 8, from.id(), base.id(), size == 1);
      *at++ = size == 1 ? 0x88 : 0x89;
      return memory(at, from.id(), base.id(), offset);
    });
  }

  Label new_label() {
    places_.push_back(kNowhere);
    return {static_cast<uint32_t>(places_.size() - 1)};
  }
  // The next instruction is where jumps to the label lead.
  void mark(Label label) { places_[label.number] = static_cast<uint32_t>(offset()); }
  bool is_marked(Label label) const { return places_[label.number] != kNowhere; }
  // Leads all jumps to their labels, each of which must have been marked. Nothing is written
  // behind.
  void finish() {
    currentSection()->buffer()._size = offset();
    for (const Jump& jump : jumps_) {
      assert(places_[jump.to] != kNowhere);
      const uint32_t end = jump.from + uint32_t{sizeof(uint32_t)};
      const uint32_t distance = places_[jump.to] - end;
      std::memcpy(bufferData() + jump.from, &distance, sizeof(distance));
    }
    jumps_.clear();
  }

  // As x86 encodes them.
  enum class Condition : uint8_t {
    below = 0x2,
    not_below = 0x3,
    equal = 0x4,
    not_equal = 0x5,
    not_above = 0x6,
    above = 0x7,
    less = 0xc,
    not_less = 0xd,
    not_greater = 0xe,
    greater = 0xf,
  };
  void jump_if(Condition condition, Label to) {
    const auto code = static_cast<uint8_t>(condition);
    if (jump_back(static_cast<uint8_t>(0x70 | code), to)) return;
    write([&](uint8_t* at) {
      *at++ = 0x0f;
      *at++ = static_cast<uint8_t>(0x80 | code);
      return value(at, uint32_t{0});
    });
    lead(to);
  }
  using asmjit::x86::Assembler::jmp;
  void jmp(Label to) {
    if (jump_back(0xeb, to)) return;
    write([&](uint8_t* at) {
      *at++ = 0xe9;
      return value(at, uint32_t{0});
    });
    lead(to);
  }
  using asmjit::x86::Assembler::call;
  void call(Label to) {
    write([&](uint8_t* at) {
      *at++ = 0xe8;
      return value(at, uint32_t{0});
    });
    lead(to);
  }
  void ja(Label to) { jump_if(Condition::above, to); }
  void jae(Label to) { jump_if(Condition::not_below, to); }
  void jb(Label to) { jump_if(Condition::below, to); }
  void je(Label to) { jump_if(Condition::equal, to); }
  void jne(Label to) { jump_if(Condition::not_equal, to); }
  void jz(Label to) { je(to); }
  void jnz(Label to) { jne(to); }

 private:
  static constexpr uint32_t kNowhere = UINT32_MAX;
  // Whose distance, in the last four bytes of the instruction, is still to be written.
  struct Jump {
    uint32_t from;  // of these bytes
    uint32_t to;    // label
  };

  // The short form, to where is known and near; false, and then nothing is written, elsewhere.
  bool jump_back(uint8_t code, Label to) {
    constexpr int64_t kSize = 2;
    if (!is_marked(to)) return false;
    const int64_t distance = int64_t{places_[to.number]} - static_cast<int64_t>(offset()) - kSize;
    if (distance < INT8_MIN) return false;
    write([&](uint8_t* at) {
      *at++ = code;
      return value(at, static_cast<int8_t>(distance));
    });
    return true;
  }
  // Where the jump or call that was just written leads.
  void lead(Label to) {
    jumps_.push_back({static_cast<uint32_t>(offset() - sizeof(uint32_t)), to.number});
  }

  static constexpr size_t kLongest = 16;  // bytes of an instruction, and one

  template <class Write>
  void write(Write bytes) {
    if (remainingSpace() >= kLongest) [[likely]] {
      _bufferPtr = bytes(_bufferPtr);
      return;
    }
    uint8_t instruction[kLongest];
    embed(instruction, static_cast<size_t>(bytes(instruction) - instruction));
  }
  static uint8_t* rex(uint8_t* at, bool wide, uint32_t reg, uint32_t base, bool always = false) {
    const uint32_t bits = uint32_t{wide} << 3 | reg >> 3 << 2 | base >> 3;
    if (bits != 0 || always) *at++ = static_cast<uint8_t>(0x40 | bits);
    return at;
  }
  static uint8_t* registers(uint8_t* at, uint32_t reg, uint32_t base) {
    *at++ = static_cast<uint8_t>(0xc0 | (reg & 7) << 3 | (base & 7));
    return at;
  }
  static uint8_t* memory(uint8_t* at, uint32_t reg, uint32_t base, int32_t offset) {
    const uint32_t low = (reg & 7) << 3 | (base & 7);
    // Without an offset, rbp and r13 mean something else.
    if (offset == 0 && (base & 7) != 5) {
      *at++ = static_cast<uint8_t>(low);
      return at;
    }
    const bool is_short = offset == static_cast<int8_t>(offset);
    *at++ = static_cast<uint8_t>((is_short ? 0x40 : 0x80) | low);
    return is_short ? value(at, static_cast<int8_t>(offset)) : value(at, offset);
  }
  template <class Value>
  static uint8_t* value(uint8_t* at, Value value) {
    std::memcpy(at, &value, sizeof(value));
    return at + sizeof(value);
  }

  std::vector<uint32_t> places_;  // by label
  std::vector<Jump> jumps_;
};

}  // namespace xnic::jit
