#pragma once

#include <linux/bpf.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vm/map.h"
#include "vm/proof.h"

namespace xnic::vm {

struct Invocation;
class Program;
class Prologue;
class Btf;

// What BPF_PROG_LOAD asks for, copied out of user memory, nothing checked yet.
struct ProgramSpec {
  uint32_t type = BPF_PROG_TYPE_UNSPEC;  // BPF_PROG_TYPE_*, or any number
  uint32_t expected_attach_type = 0;
  uint32_t flags = 0;    // BPF_F_*
  uint32_t ifindex = 0;  // of the device that an XDP program is bound to; 0: any
  std::string name;
  std::string license;
  std::vector<bpf_insn> instructions;
  std::shared_ptr<const Btf> btf;  // may be null
  uint32_t attach_type_id = 0;     // what it is attached to, in the kernel's types; 0: nothing
  std::vector<bpf_func_info> functions;
  std::vector<bpf_line_info> lines;
};

struct Subprogram {
  uint32_t start = 0;  // first instruction
  uint32_t end = 0;    // one past the last
  std::string name;    // from BTF; "subprogN" without
};

// What a core takes for each instruction of a program: by instruction slot, in a unit of the core's
// own, a call with all that its helper takes.
using CostModel = std::function<std::vector<uint32_t>(const Program&)>;

// A program made runnable by an engine. One run: r1 is the packet's context; gives r0.
// A run-time fault is left in the invocation, and the value is then of no meaning.
class Code {
 public:
  virtual ~Code() = default;
  virtual uint64_t run(Invocation& invocation) const = 0;
  // Where another program's machine code may go on into this one, as a tail call does, by the
  // conventions of jit/; null where there is none.
  virtual const void* entry() const { return nullptr; }
};

// How programs run: the interpreter, or the JIT. The choice changes wall-clock time and nothing
// else: same verdicts, bytes, maps, instruction counts.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string_view name() const = 0;  // "interpreter", "jit"
  virtual std::unique_ptr<Code> compile(const Program& program) = 0;
};

// A program that passed the checks of vm/verifier.h, which alone can make one. Immutable once it is
// shared. In `instructions`, the 64-bit immediate of a BPF_PSEUDO_MAP_FD or _IDX load is the Map's
// address, that of a BPF_PSEUDO_MAP_VALUE or _IDX_VALUE load the address inside the map's value,
// and that of BPF_PSEUDO_FUNC the index of the function's first instruction; src_reg keeps the
// kind.
class Program : public std::enable_shared_from_this<Program> {
 public:
  const ProgramSpec& spec() const { return spec_; }
  bpf_prog_type type() const { return static_cast<bpf_prog_type>(spec_.type); }
  const std::string& name() const { return spec_.name; }
  std::span<const bpf_insn> instructions() const { return spec_.instructions; }
  // Sorted by start; the first one is the main program, at 0.
  std::span<const Subprogram> subprograms() const { return subprograms_; }
  // Every map that an instruction names, each once.
  std::span<const std::shared_ptr<Map>> maps() const { return maps_; }
  // Maps that only live as long as the program does (BPF_PROG_BIND_MAP).
  std::span<const std::shared_ptr<Map>> bound_maps() const { return bound_maps_; }
  void bind(std::shared_ptr<Map> map) { bound_maps_.push_back(std::move(map)); }
  bool gpl_compatible() const { return gpl_compatible_; }
  const std::array<uint8_t, 8>& tag() const { return tag_; }
  // What the verifier took, all 0 if values were not followed; and what it had to say.
  const VerifierStatistics& verifier_statistics() const { return verifier_statistics_; }
  const std::string& verifier_log() const { return verifier_log_; }
  const Proof& proof() const { return proof_; }

  // What its instructions take on the core that asked for it, by instruction slot; every engine
  // adds them up in Invocation::cost. Empty where nobody asked: then nothing is added.
  std::span<const uint32_t> costs() const { return costs_; }
  // Called before an engine compiles the program.
  void set_costs(std::vector<uint32_t> costs) { costs_ = std::move(costs); }

  const Code& code() const { return *code_; }
  // Called once by the Kernel, before the program is shared.
  void set_code(std::unique_ptr<Code> code) { code_ = std::move(code); }
  // What may run ahead of it (vm/prologue.h); null without one.
  const Prologue* prologue() const { return prologue_.get(); }
  void set_prologue(std::shared_ptr<const Prologue> prologue) { prologue_ = std::move(prologue); }

  uint32_t id = 0;            // given by the Kernel
  uint64_t load_time_ns = 0;  // simulated
  // While BPF_ENABLE_STATS asks for it: runs, and the wall-clock time that they took.
  void count_run(std::chrono::nanoseconds spent, uint64_t runs = 1) const {
    run_count_ += runs;
    run_time_ += spent;
  }
  uint64_t run_count() const { return run_count_; }
  uint64_t run_time_ns() const { return static_cast<uint64_t>(run_time_.count()); }

 private:
  friend class Verifier;
  Program() = default;

  ProgramSpec spec_;
  std::vector<Subprogram> subprograms_;
  std::vector<std::shared_ptr<Map>> maps_;
  std::vector<std::shared_ptr<Map>> bound_maps_;
  std::vector<uint32_t> costs_;
  std::unique_ptr<Code> code_;
  std::shared_ptr<const Prologue> prologue_;
  mutable uint64_t run_count_ = 0;
  mutable std::chrono::nanoseconds run_time_{};
  std::array<uint8_t, 8> tag_{};
  bool gpl_compatible_ = false;
  VerifierStatistics verifier_statistics_;
  std::string verifier_log_;
  Proof proof_;
};

// "instruction 12 (r0 = *(u32 *)(r1 +4))", and " at file:line:column" behind it where BTF line info
// has it.
std::string describe_instruction(const Program& program, uint32_t index);

}  // namespace xnic::vm
