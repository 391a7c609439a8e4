// The structural checks: one pass over the instructions for their form, one over the functions for
// jumps and ends, one over the control flow for reachability, one over the call graph for depth
// and stack. They track no values: that is vm/verifier/analysis.h, which takes over the checks of
// single instructions and of the stack where it is asked for. Test: tests/vm/verifier_test.cpp.
#include "vm/verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "vm/btf.h"
#include "vm/disassembler.h"
#include "vm/exceptions.h"
#include "vm/helper.h"
#include "vm/instruction_form.h"
#include "vm/isa.h"
#include "vm/kernel_face.h"
#include "vm/kfunc.h"
#include "vm/program_type.h"
#include "vm/sha256.h"
#include "vm/verifier/analysis.h"
#include "vm/verifier/explanation.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxSubprograms = 256;
constexpr size_t kMaxMaps = 64;
constexpr uint32_t kVariableOffsetLimit = 1u << 29;  // BPF_MAX_VAR_OFF
constexpr uint32_t kFramePointer = 10;
// Kernel functions have addresses that only tell that they exist.
constexpr uint32_t kKernelTextLow = 0x81000000;
constexpr int32_t kKernelTextHigh = -1;

// The licenses that license_is_gpl_compatible() of Linux knows.
bool is_gpl_compatible(std::string_view license) {
  static constexpr std::string_view kLicenses[] = {
      "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};
  return std::ranges::find(kLicenses, license) != std::end(kLicenses);
}

// First 8 bytes of SHA-256 (Linux 6.18; SHA-1 before) over the instructions as user space gave
// them, but with the descriptors of maps and the offsets into their values zeroed.
std::array<uint8_t, 8> program_tag(std::span<const bpf_insn> instructions) {
  std::vector<bpf_insn> copy(instructions.begin(), instructions.end());
  for (size_t i = 0; i < copy.size(); i += slots(copy[i])) {
    const uint8_t pseudo = copy[i].src_reg;
    if (opcode(copy[i]).kind == Kind::load_immediate && i + 1 < copy.size() &&
        (pseudo == BPF_PSEUDO_MAP_FD || pseudo == BPF_PSEUDO_MAP_VALUE)) {
      copy[i].imm = 0;
      copy[i + 1].imm = 0;
    }
  }
  const auto digest =
      sha256({reinterpret_cast<const uint8_t*>(copy.data()), copy.size() * sizeof(bpf_insn)});
  std::array<uint8_t, 8> tag;
  std::copy_n(digest.begin(), tag.size(), tag.begin());
  return tag;
}

// The function's name in BTF; empty without.
std::string_view function_name(const ProgramSpec& spec, uint32_t start) {
  if (spec.btf == nullptr) return {};
  const auto found = std::ranges::find(spec.functions, start, &bpf_func_info::insn_off);
  return found == spec.functions.end() ? std::string_view() : spec.btf->type_name(found->type_id);
}

// Calls of kernel functions by the ids of another kernel's types become calls by ours, where there
// is such a function here.
void name_own_kfuncs(std::span<bpf_insn> code, const Btf& types) {
  for (bpf_insn& insn : code) {
    const bool calls = opcode(insn).kind == Kind::call && insn.src_reg == kPseudoKfuncCall;
    const bool names =
        opcode(insn).kind == Kind::load_immediate && insn.src_reg == BPF_PSEUDO_BTF_ID;
    if ((!calls && !names) || insn.imm <= 0 || insn.off != 0) continue;
    const auto id = static_cast<uint32_t>(insn.imm);
    const std::string_view name = id < types.type_count() ? types.type_name(id) : "";
    const uint32_t own = name.empty() ? 0 : kernel_types().function_id(name);
    const bool is_here = own != 0 && find_kfunc(static_cast<int32_t>(own)) != nullptr;
    insn.imm = is_here ? static_cast<int32_t>(own) : insn.imm | kForeignKfunc;
  }
}

template <class... Args>
std::optional<Rejection> reject(int error, fmt::format_string<Args...> text, Args&&... args) {
  Rejection rejection;
  rejection.error = -error;
  rejection.message = rejection.said = rejection.reason =
      fmt::format(text, std::forward<Args>(args)...);
  rejection.category = category_of(rejection.said);
  return rejection;
}

using Verdict = std::optional<Rejection>;  // none: nothing to object to

class Check {
 public:
  Check(ProgramSpec& spec, std::span<const int> fd_array, MapResolver& resolver,
        const VerifierOptions& options)
      : follows_values_(options.values),
        types_(options.kernel_types),
        code_(spec.instructions),
        spec_(spec),
        fd_array_(fd_array),
        resolver_(resolver),
        gpl_compatible_(is_gpl_compatible(spec.license)) {}

  Verdict run() {
    if (code_.empty() || code_.size() > kMaxInstructions) {
      return reject(E2BIG, "A program has 1 to {} instructions, this one has {}.", kMaxInstructions,
                    code_.size());
    }
    type_ = find_program_type(spec_.type);
    if (type_ == nullptr) {
      return reject(EINVAL, "Program type {} does not exist here.", spec_.type);
    }
    if (Verdict verdict = find_subprograms()) return verdict;
    if (Verdict verdict = check_functions()) return verdict;
    if (Verdict verdict = check_instructions()) return verdict;
    if (Verdict verdict = check_reachable()) return verdict;
    return follows_values_ ? Verdict{} : check_calls();
  }

  bool gpl_compatible() const { return gpl_compatible_; }
  std::vector<std::shared_ptr<Map>>& maps() { return maps_; }
  std::vector<Subprogram>& subprograms() { return subprograms_; }

 private:
  uint32_t size() const { return static_cast<uint32_t>(code_.size()); }

  template <class... Args>
  Verdict refuse(uint32_t index, int error, fmt::format_string<Args...> text,
                 Args&&... args) const {
    Verdict verdict = reject(error, text, std::forward<Args>(args)...);
    const std::string disassembly = disassemble(code_, index);
    verdict->message = fmt::format("{}: {}: {}", index, disassembly, verdict->said);
    verdict->place = place_of(spec_, index, disassembly);
    return verdict;
  }

  Verdict find_subprograms();
  Verdict check_functions();
  Verdict check_instructions();
  Verdict check_instruction(uint32_t index);
  Verdict check_static_parts(uint32_t index);
  Verdict check_call(uint32_t index) const;
  Verdict check_kfunc_call(uint32_t index) const;
  Verdict check_load_packet(uint32_t index) const;
  Verdict check_early_end(uint32_t index, std::string_view what) const;
  Verdict check_frame_access(uint32_t index, uint32_t base, uint32_t width);
  Verdict check_load_immediate(uint32_t index);
  Verdict check_callback(uint32_t index) const;
  Verdict resolve_map(uint32_t index);
  Verdict check_reachable() const;
  Verdict check_calls() const;
  Verdict check_chain(uint32_t subprogram, uint32_t frames, uint32_t stack,
                      std::vector<uint8_t>& state,
                      std::vector<std::pair<uint32_t, uint32_t>>& best) const;
  uint32_t subprogram_of(uint32_t index) const;

  // Whether a call or a symbol is one of the kernel's that the program is judged for.
  bool is_known_symbol(const bpf_insn& insn) const {
    if (types_ == nullptr || !is_foreign(insn)) return false;
    const auto id = static_cast<uint32_t>(insn.imm & ~kForeignKfunc);
    const bool calls = opcode(insn).kind == Kind::call;
    return calls ? types_->is_function(id) : types_->is_function(id) || types_->is_variable(id);
  }

  const bool follows_values_;  // what only a path may meet is left to that
  const Btf* const types_;     // of another kernel; may be null
  std::vector<bpf_insn>& code_;
  ProgramSpec& spec_;
  std::span<const int> fd_array_;
  MapResolver& resolver_;
  const ProgramType* type_ = nullptr;
  bool gpl_compatible_;
  uint32_t exception_callback_ = 0;  // its first instruction; 0: none
  std::vector<Subprogram> subprograms_;
  std::vector<uint32_t> stack_use_;  // bytes, of each subprogram's constant r10 accesses
  std::vector<std::shared_ptr<Map>> maps_;
};

uint32_t Check::subprogram_of(uint32_t index) const {
  const auto after = std::ranges::upper_bound(subprograms_, index, {}, &Subprogram::start);
  return static_cast<uint32_t>(after - subprograms_.begin()) - 1;
}

Verdict Check::find_subprograms() {
  std::vector<uint32_t> starts = {0};
  for (uint32_t i = 0; i < size(); i += slots(code_[i])) {
    const bpf_insn& insn = code_[i];
    if (!calls_subprogram(insn) && !names_function(insn)) continue;
    const int64_t target = int64_t{i} + 1 + insn.imm;
    if (target < 0 || target >= size()) {
      return refuse(i, EINVAL, "the call leads out of the program, to {}.", target);
    }
    starts.push_back(static_cast<uint32_t>(target));
  }
  const auto callback = exception_callback(spec_);
  if (!callback) return reject(EINVAL, "{}", callback.error());
  exception_callback_ = *callback;
  if (exception_callback_ != 0) starts.push_back(exception_callback_);
  std::ranges::sort(starts);
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  if (starts.size() > kMaxSubprograms) {
    return reject(E2BIG, "The program has {} subprograms, at most {} are possible.", starts.size(),
                  kMaxSubprograms);
  }
  for (size_t i = 0; i < starts.size(); ++i) {
    const uint32_t end = i + 1 < starts.size() ? starts[i + 1] : size();
    std::string name(function_name(spec_, starts[i]));
    if (name.empty()) name = i == 0 ? spec_.name : fmt::format("subprog{}", i);
    subprograms_.push_back({starts[i], end, std::move(name)});
  }
  stack_use_.resize(subprograms_.size());
  return {};
}

Verdict Check::check_functions() {
  for (const Subprogram& function : subprograms_) {
    uint32_t last = function.start;
    for (uint32_t i = function.start; i < function.end; i += slots(code_[i])) {
      last = i;
      const Opcode& op = opcode(code_[i]);
      if (!jumps(op.kind)) continue;
      const int64_t target = int64_t{i} + 1 + jump_distance(code_[i]);
      if (target < function.start || target >= function.end) {
        return refuse(i, EINVAL, "jump out of range from insn {} to {}", i, target);
      }
    }
    const Kind kind = opcode(code_[last]).kind;
    if (kind != Kind::exit && kind != Kind::jump) {
      return refuse(last, EINVAL, "last insn is not an exit or jmp");
    }
  }
  return {};
}

Verdict Check::check_instructions() {
  for (uint32_t i = 0; i < size(); i += slots(code_[i])) {
    if (Verdict verdict = check_instruction(i)) return verdict;
  }
  return {};
}

Verdict Check::check_instruction(uint32_t index) {
  const bpf_insn& insn = code_[index];
  const Opcode& op = opcode(insn);
  if (follows_values_) return check_static_parts(index);
  if (const auto objection = objection_to_form(insn)) {
    return refuse(index, objection->error, "{}", objection->words);
  }
  switch (op.kind) {
    case Kind::load_immediate:
      return check_load_immediate(index);
    case Kind::load_packet:
      return check_load_packet(index);
    case Kind::load:
    case Kind::load_signed:
      return check_frame_access(index, insn.src_reg, op.width);
    case Kind::atomic:
      return check_frame_access(index, insn.imm == kLoadAcquire ? insn.src_reg : insn.dst_reg,
                                op.width);
    case Kind::store:
    case Kind::store_immediate:
      return check_frame_access(index, insn.dst_reg, op.width);
    case Kind::call:
      return check_call(index);
    default:
      return {};
  }
}

// What Linux asks of instructions that no path may reach, too.
Verdict Check::check_static_parts(uint32_t index) {
  const bpf_insn& insn = code_[index];
  switch (opcode(insn).kind) {
    case Kind::unknown:
      return refuse(index, EINVAL, "unknown opcode {:02x}", uint32_t{insn.code});
    case Kind::load_immediate:
      return check_load_immediate(index);
    case Kind::load_packet:
      return check_load_packet(index);
    case Kind::call:
      if (insn.src_reg == 0 && insn.imm == BPF_FUNC_tail_call) {
        return check_early_end(index, "tail_call");
      }
      return insn.src_reg == kPseudoKfuncCall ? check_kfunc_call(index) : Verdict{};
    default:
      return {};
  }
}

Verdict Check::check_load_packet(uint32_t index) const {
  if (type_->helper_set != kTc && type_->helper_set != kSocketFilter) {
    return refuse(index, EINVAL, "BPF_LD_[ABS|IND] instructions not allowed for this program type");
  }
  return check_early_end(index, "LD_ABS");
}

// What may end the whole function must not end one whose caller takes r0 for something else than a
// number.
Verdict Check::check_early_end(uint32_t index, std::string_view what) const {
  const uint32_t subprogram = subprogram_of(index);
  if (subprogram == 0) return {};
  if (spec_.btf == nullptr || spec_.functions.empty()) {
    return refuse(index, EINVAL, "{} is not allowed in subprogs without BTF", what);
  }
  const auto info =
      std::ranges::find(spec_.functions, subprograms_[subprogram].start, &bpf_func_info::insn_off);
  if (info == spec_.functions.end() || !spec_.btf->returns_number(info->type_id)) {
    return refuse(index, EINVAL, "{} is only allowed in functions that return 'int'.", what);
  }
  return {};
}

Verdict Check::check_call(uint32_t index) const {
  const bpf_insn& insn = code_[index];
  if (insn.src_reg == kPseudoKfuncCall) {
    if (Verdict verdict = check_kfunc_call(index)) return verdict;
    const Kfunc* kfunc = find_kfunc(insn.imm);
    if (kfunc == nullptr || (kfunc->row.program_types & type_->helper_set) != 0) return {};
    return refuse(index, EACCES, "calling kernel function {} is not allowed", kfunc->row.name);
  }
  // Left to the run, which tells whether it is reached.
  if (is_poisoned_call(insn)) return {};
  if (insn.off != 0 || insn.dst_reg != 0 || insn.src_reg > BPF_PSEUDO_CALL) {
    return refuse(index, EINVAL, "BPF_CALL uses reserved fields");
  }
  if (insn.src_reg == BPF_PSEUDO_CALL) return {};
  const auto id = static_cast<uint32_t>(insn.imm);
  const Helper* helper = find_helper(id, type_->helper_set);
  if (helper == nullptr) {
    helper = find_helper(id);
    if (helper == nullptr) return refuse(index, EINVAL, "invalid func unknown#{}", insn.imm);
    return refuse(index, EINVAL, "program of type {} cannot use helper {}#{}", type_->name,
                  helper->name, insn.imm);
  }
  if (helper->gpl_only && !gpl_compatible_) {
    return refuse(index, EINVAL,
                  "cannot call GPL-restricted function from non-GPL compatible program");
  }
  return {};
}

// What Linux asks of calls of kernel functions, reached or not.
Verdict Check::check_kfunc_call(uint32_t index) const {
  const bpf_insn& insn = code_[index];
  if (!gpl_compatible_) {
    return refuse(index, EINVAL, "cannot call kernel function from non-GPL compatible program");
  }
  if (is_poisoned_call(insn)) return {};
  if (insn.off < 0) return refuse(index, EINVAL, "negative offset disallowed for kernel module");
  if (insn.off != 0) {
    if (fd_array_.empty()) {
      return refuse(index, EPROTO, "kfunc offset > 0 without fd_array is invalid");
    }
    return refuse(index, EINVAL, "functions of kernel modules do not exist here.");
  }
  // Is looked at where a path reaches it.
  if (is_known_symbol(insn)) return {};
  const Kfunc* kfunc = find_kfunc(insn.imm);
  if (kfunc == nullptr) {
    return refuse(index, EINVAL, "kernel btf_id {} is not a function", insn.imm);
  }
  if (kfunc->needs_device && spec_.ifindex == 0) {
    return refuse(index, EINVAL, "metadata kfuncs require device-bound program");
  }
  return {};
}

Verdict Check::check_frame_access(uint32_t index, uint32_t base, uint32_t width) {
  if (base != kFramePointer) return {};
  const int32_t offset = code_[index].off;
  if (offset < -static_cast<int32_t>(kFrameBytes) || offset + static_cast<int32_t>(width) > 0) {
    return refuse(index, EACCES, "invalid access to stack R10 off={} size={}", offset, width);
  }
  uint32_t& use = stack_use_[subprogram_of(index)];
  use = std::max(use, static_cast<uint32_t>(-offset));
  return {};
}

Verdict Check::check_load_immediate(uint32_t index) {
  bpf_insn& insn = code_[index];
  if (index + 1 >= size()) return refuse(index, EINVAL, "invalid bpf_ld_imm64 insn");
  bpf_insn& high = code_[index + 1];
  if (high.code != 0 || high.dst_reg != 0 || high.src_reg != 0 || high.off != 0) {
    return refuse(index, EINVAL, "invalid bpf_ld_imm64 insn");
  }
  if (insn.off != 0) return refuse(index, EINVAL, "BPF_LD_IMM64 uses reserved fields");
  if (insn.dst_reg == kFramePointer) return refuse(index, EACCES, "frame pointer is read only");
  switch (insn.src_reg) {
    case 0:
      return {};
    case BPF_PSEUDO_MAP_FD:
    case BPF_PSEUDO_MAP_IDX:
      if (high.imm != 0) return refuse(index, EINVAL, "unrecognized bpf_ld_imm64 insn");
      return resolve_map(index);
    case BPF_PSEUDO_MAP_VALUE:
    case BPF_PSEUDO_MAP_IDX_VALUE:
      return resolve_map(index);
    case BPF_PSEUDO_FUNC:
      insn.imm += static_cast<int32_t>(index) + 1;
      if (Verdict verdict = check_callback(index)) return verdict;
      high.imm = 0;
      return {};
    case BPF_PSEUDO_BTF_ID:
      if (is_known_symbol(insn)) return {};
      if (find_kfunc(insn.imm) != nullptr) {
        insn.imm = static_cast<int32_t>(kKernelTextLow + 16 * static_cast<uint32_t>(insn.imm));
        high.imm = kKernelTextHigh;
        return {};
      }
      return refuse(index, EINVAL, "kernel symbols by BTF id (__ksym) are not supported.");
    default:
      return refuse(index, EINVAL, "unrecognized bpf_ld_imm64 insn");
  }
}

Verdict Check::check_callback(uint32_t index) const {
  const auto start = static_cast<uint32_t>(code_[index].imm);
  if (spec_.btf == nullptr || spec_.functions.empty()) {
    return refuse(index, EINVAL, "missing btf func_info");
  }
  const auto info = std::ranges::find(spec_.functions, start, &bpf_func_info::insn_off);
  if (info == spec_.functions.end() || !spec_.btf->is_static_function(info->type_id)) {
    return refuse(index, EINVAL, "callback function not static");
  }
  if (start == 0) return refuse(index, EINVAL, "callback function cannot be the main program");
  return {};
}

Verdict Check::resolve_map(uint32_t index) {
  bpf_insn& insn = code_[index];
  bpf_insn& high = code_[index + 1];
  int fd = insn.imm;
  if (insn.src_reg == BPF_PSEUDO_MAP_IDX || insn.src_reg == BPF_PSEUDO_MAP_IDX_VALUE) {
    if (fd_array_.empty()) return refuse(index, EPROTO, "fd_idx without fd_array is invalid");
    const auto slot = static_cast<uint32_t>(insn.imm);
    if (slot >= fd_array_.size()) return refuse(index, EFAULT, "fd_array ends before {}", slot);
    fd = fd_array_[slot];
  }
  const std::shared_ptr<Map> map = resolver_.map_by_fd(fd);
  if (map == nullptr) return refuse(index, EBADF, "fd {} is not pointing to valid bpf_map", fd);
  uint64_t address = reinterpret_cast<uintptr_t>(map.get());
  if (names_map_value(insn.src_reg)) {
    const std::span<uint8_t> value = map->direct_value();
    const auto offset = static_cast<uint32_t>(high.imm);
    if (offset >= kVariableOffsetLimit) {
      return refuse(index, EINVAL, "direct value offset of {} is not allowed", offset);
    }
    if (value.empty()) {
      return refuse(index, EINVAL, "no direct value access support for this map type");
    }
    if (offset >= value.size()) {
      return refuse(index, EINVAL, "invalid access to map value pointer, value_size={} off={}",
                    value.size(), offset);
    }
    address = reinterpret_cast<uintptr_t>(value.data()) + offset;
  }
  insn.imm = static_cast<int32_t>(static_cast<uint32_t>(address));
  high.imm = static_cast<int32_t>(static_cast<uint32_t>(address >> 32));
  if (std::ranges::find(maps_, map) != maps_.end()) return {};
  if (maps_.size() >= kMaxMaps) {
    return refuse(index, E2BIG, "The total number of maps per program has reached the limit of {}",
                  kMaxMaps);
  }
  maps_.push_back(map);
  return {};
}

Verdict Check::check_reachable() const {
  std::vector<bool> reached(size());
  std::vector<uint32_t> work;
  const auto reach = [&](int64_t index) {
    const auto at = static_cast<uint32_t>(index);
    if (at < size() && !reached[at]) {
      reached[at] = true;
      work.push_back(at);
    }
  };
  reach(0);
  if (exception_callback_ != 0) reach(exception_callback_);
  while (!work.empty()) {
    const uint32_t at = work.back();
    work.pop_back();
    const bpf_insn& insn = code_[at];
    const Kind kind = opcode(insn).kind;
    if (jumps(kind)) reach(int64_t{at} + 1 + jump_distance(insn));
    if (calls_subprogram(insn)) reach(int64_t{at} + 1 + insn.imm);
    // check_load_immediate() has made the distance of a function pointer an index.
    if (names_function(insn)) reach(insn.imm);
    if (kind != Kind::exit && kind != Kind::jump) reach(int64_t{at} + slots(insn));
  }
  for (uint32_t i = 0; i < size(); i += slots(code_[i])) {
    if (!reached[i]) return refuse(i, EINVAL, "unreachable insn {}", i);
    if (slots(code_[i]) == 2 && reached[i + 1]) {
      return refuse(i, EINVAL, "jump into the middle of ldimm64 insn {}", i);
    }
  }
  return {};
}

Verdict Check::check_calls() const {
  std::vector<uint8_t> state(subprograms_.size());
  std::vector<std::pair<uint32_t, uint32_t>> best(subprograms_.size());
  return check_chain(0, 1, 0, state, best);
}

// Walks the call graph from the main program. A subprogram is walked again only when it is met
// with more frames or more stack above it than before, so the walk ends quickly.
Verdict Check::check_chain(uint32_t subprogram, uint32_t frames, uint32_t stack,
                           std::vector<uint8_t>& state,
                           std::vector<std::pair<uint32_t, uint32_t>>& best) const {
  const Subprogram& function = subprograms_[subprogram];
  if (state[subprogram] != 0) {
    return refuse(function.start, EINVAL, "recursive call of {}", function.name);
  }
  if (frames > kMaxCallFrames) {
    return refuse(function.start, E2BIG, "the call stack of {} frames is too deep", frames);
  }
  stack += (stack_use_[subprogram] + 15) / 16 * 16;
  if (stack > kFrameBytes) {
    return refuse(function.start, EACCES, "combined stack size of {} calls is {}. Too large",
                  frames, stack);
  }
  auto& [most_frames, most_stack] = best[subprogram];
  if (frames <= most_frames && stack <= most_stack) return {};
  most_frames = std::max(most_frames, frames);
  most_stack = std::max(most_stack, stack);
  state[subprogram] = 1;
  for (uint32_t i = function.start; i < function.end; i += slots(code_[i])) {
    // A helper calls a function whose address it may have been given on top of the one that took
    // it; check_load_immediate() has made its distance an index.
    const bool pointer = names_function(code_[i]);
    if (!calls_subprogram(code_[i]) && !pointer) continue;
    const auto target = static_cast<uint32_t>((pointer ? 0 : int64_t{i} + 1) + code_[i].imm);
    if (Verdict verdict = check_chain(subprogram_of(target), frames + 1, stack, state, best)) {
      return verdict;
    }
  }
  state[subprogram] = 0;
  return {};
}

}  // namespace

tl::expected<std::shared_ptr<Program>, Rejection> Verifier::verify(ProgramSpec spec,
                                                                   std::span<const int> fd_array,
                                                                   MapResolver& maps,
                                                                   const VerifierOptions& options) {
  const std::array<uint8_t, 8> tag = program_tag(spec.instructions);
  if (options.kernel_types != nullptr) name_own_kfuncs(spec.instructions, *options.kernel_types);
  Check check(spec, fd_array, maps, options);
  if (Verdict verdict = check.run()) return tl::unexpected<Rejection>(std::move(*verdict));
  std::shared_ptr<Program> program(new Program());
  program->subprograms_ = std::move(check.subprograms());
  program->maps_ = std::move(check.maps());
  program->tag_ = tag;
  program->gpl_compatible_ = check.gpl_compatible();
  program->spec_ = std::move(spec);
  if (options.values) {
    const verifier::Options following{.kernel_types = options.kernel_types,
                                      .log_level = options.log_level,
                                      .possible_cpus = options.possible_cpus};
    verifier::Finding finding = verifier::analyse(
        program->spec_, program->subprograms_, program->maps_, program->gpl_compatible_, following);
    if (finding.refusal) return tl::unexpected(verifier::explain(*program, finding, following));
    program->verifier_statistics_ = finding.statistics;
    program->proof_ = std::move(finding.proof);
    program->verifier_log_ = std::move(finding.log);
  }
  return program;
}

}  // namespace xnic::vm
