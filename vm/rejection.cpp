// What a refusal is called and how it is told. Categories are found by the words of the refusal:
// they are Linux's, so that one table serves this verifier and the log of a real kernel. Left out:
// words of Linux for what does not exist here beyond the common ones. Test:
// tests/vm/rejection_test.cpp.
#include "vm/rejection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace xnic::vm {
namespace {

constexpr size_t kShownSteps = 16;
constexpr size_t kWidest =
    60;  // characters of a step, so that what follows stands below each other

constexpr std::array kCategories = {
    CategoryRow{Category::uninitialised_register, "uninitialised_register",
                "uninitialised register"},
    CategoryRow{Category::packet_access, "packet_access", "packet access out of bounds"},
    CategoryRow{Category::map_value_access, "map_value_access", "map value access out of bounds"},
    CategoryRow{Category::memory_access, "memory_access", "memory access out of bounds"},
    CategoryRow{Category::stack_access, "stack_access", "stack access out of bounds"},
    CategoryRow{Category::context_access, "context_access", "context field not accessible"},
    CategoryRow{Category::null_pointer, "null_pointer", "pointer that may be NULL"},
    CategoryRow{Category::pointer_use, "pointer_use", "pointer used as what it is not"},
    CategoryRow{Category::read_only, "read_only", "write to what is read-only"},
    CategoryRow{Category::alignment, "alignment", "unaligned access"},
    CategoryRow{Category::helper_argument, "helper_argument", "argument that a call does not take"},
    CategoryRow{Category::return_value, "return_value", "return value not allowed"},
    CategoryRow{Category::loop, "loop", "unbounded loop or program too complex"},
    CategoryRow{Category::call_stack, "call_stack", "calls too deep or stack too large"},
    CategoryRow{Category::reference_leak, "reference_leak", "resource not given back"},
    CategoryRow{Category::lock, "lock", "spin lock misused"},
    CategoryRow{Category::not_allowed, "not_allowed", "not allowed in this program"},
    CategoryRow{Category::not_supported, "not_supported", "not supported by xnic"},
    CategoryRow{Category::malformed, "malformed", "malformed program"},
    CategoryRow{Category::other, "other", "refused"},
};

struct Phrase {
  std::string_view words;
  Category category;
};

// The first row whose words stand in the refusal gives the category: the special before the
// general.
constexpr Phrase kPhrases[] = {
    {"!read_ok", Category::uninitialised_register},
    {"invalid read from stack", Category::uninitialised_register},
    {"invalid indirect read from stack", Category::uninitialised_register},
    {"null-check it first", Category::null_pointer},
    {"_or_null", Category::null_pointer},
    {"expected to be non-NULL", Category::null_pointer},
    {"Possibly NULL pointer", Category::null_pointer},
    {"helper access to the packet is not allowed", Category::helper_argument},
    {"offset is outside of the packet", Category::packet_access},
    {"invalid access to packet", Category::packet_access},
    {"map forbidden", Category::read_only},
    {"write into map forbidden", Category::read_only},
    {"write to change key", Category::read_only},
    {"cannot write into", Category::read_only},
    {"invalid access to map value pointer", Category::map_value_access},
    {"invalid access to map value", Category::map_value_access},
    {"cannot be accessed directly by load/store", Category::not_allowed},
    {"invalid access to m", Category::memory_access},
    {"infinite loop", Category::loop},
    {"back-edge", Category::loop},
    {"program is too large", Category::loop},
    {"jumps is too complex", Category::loop},
    {"The paths are too complex", Category::loop},
    {"loop is not bounded", Category::loop},
    {"combined stack size", Category::call_stack},
    {"call stack of", Category::call_stack},
    {"recursive call", Category::call_stack},
    {"misaligned", Category::alignment},
    {"lock-ed region", Category::lock},
    {"holding a lock", Category::lock},
    {"rcu read lock", Category::lock},
    {"rcu read unlock", Category::lock},
    {"enable preemption", Category::lock},
    {"rcu_read_lock-ed", Category::lock},
    {"preempt_disable-ed", Category::lock},
    {"reference leak", Category::reference_leak},
    {"Unreleased reference", Category::reference_leak},
    {"cannot use bpf_spin_lock", Category::not_allowed},
    {"Locking two", Category::lock},
    {"must be held for", Category::lock},
    {"in rbtree cb", Category::lock},
    {"direct access to", Category::not_allowed},
    {"access beyond", Category::memory_access},
    {"cannot access ptr member", Category::memory_access},
    {"doesn't have field at offset", Category::memory_access},
    {"bpf_spin_unlock", Category::lock},
    {"is not supported yet", Category::not_supported},
    {"is not known to the kernel", Category::not_supported},
    {"object must be referenced", Category::helper_argument},
    {"Sleepable programs can only", Category::not_allowed},
    {"non-zero flags", Category::helper_argument},
    {"might sleep", Category::not_allowed},
    {"unsupported member", Category::not_allowed},
    {"attach_btf_id", Category::not_allowed},
    {"invalid negative access", Category::memory_access},
    {"invalid variable offset", Category::memory_access},
    {"access user memory", Category::pointer_use},
    {"only read", Category::read_only},
    {"access to flow keys", Category::memory_access},
    {"must be sleepable", Category::not_allowed},
    {"is sleepable within", Category::lock},
    {"expects refcounted", Category::helper_argument},
    {"isn't map pointer", Category::helper_argument},
    {"must be a rcu pointer", Category::helper_argument},
    {"expected pointer to STRUCT", Category::helper_argument},
    {"cannot update sockmap", Category::not_allowed},
    {"is expected", Category::helper_argument},
    {"bpf_context access", Category::context_access},
    {"unbounded variable-offset", Category::stack_access},
    {"variable-offset", Category::stack_access},
    {"access to stack", Category::stack_access},
    {"stack R", Category::stack_access},
    {"stack depth", Category::call_stack},
    {"callback return", Category::return_value},
    {"subprogram exit", Category::return_value},
    {"program exit", Category::return_value},
    {"At program", Category::return_value},
    {"R0 not a scalar value", Category::return_value},
    {"cannot return stack pointer", Category::return_value},
    {"arithmetic", Category::pointer_use},
    {"on pointer prohibited", Category::pointer_use},
    {"pointer prohibited", Category::pointer_use},
    {"subtract pointer", Category::pointer_use},
    {"subtraction from stack pointer", Category::pointer_use},
    {"math between", Category::pointer_use},
    {"pointer be out of bounds", Category::pointer_use},
    {"pointer offset", Category::pointer_use},
    {"spill", Category::pointer_use},
    {"register fill", Category::pointer_use},
    {"cannot spill pointers", Category::pointer_use},
    {"invalid mem access", Category::pointer_use},
    {"dereference of modified", Category::pointer_use},
    {"different pointers", Category::pointer_use},
    {"BPF_ATOMIC loads from", Category::pointer_use},
    {"BPF_ATOMIC stores into", Category::pointer_use},
    {"unknown func bpf_", Category::not_allowed},
    {"cannot use helper", Category::not_allowed},
    {"calling kernel function", Category::not_allowed},
    {"cannot be called from callback", Category::not_allowed},
    {"require device-bound program", Category::not_allowed},
    {"tracing progs cannot use", Category::not_allowed},
    {"GPL", Category::not_allowed},
    {"not allowed for this program type", Category::not_allowed},
    {"(kfuncs) is not supported", Category::not_supported},
    {"(__ksym) are not supported", Category::not_supported},
    {"CO-RE relocation", Category::not_supported},
    {"does not exist here", Category::not_supported},
    {"do not exist here", Category::not_supported},
    {"invalid func unknown", Category::not_allowed},
    {"tail_calls are not allowed", Category::call_stack},
    {"is not allowed in subprogs", Category::not_allowed},
    {"is only allowed in functions", Category::not_allowed},
    {"within callback", Category::not_allowed},
    {"callback function not", Category::helper_argument},
    {"iterator has to be", Category::helper_argument},
    {"initialized iter_num", Category::helper_argument},
    {"cannot overwrite referenced dynptr", Category::stack_access},
    {"potential write to dynptr", Category::stack_access},
    {"dynptr", Category::helper_argument},
    {"unacquired reference", Category::helper_argument},
    {"must be a known constant", Category::helper_argument},
    {"type ID argument", Category::helper_argument},
    {"doesn't point to kptr", Category::helper_argument},
    {"has no valid kptr", Category::helper_argument},
    {"isn't referenced kptr", Category::helper_argument},
    {"invalid kptr access", Category::helper_argument},
    {"must be referenced or trusted", Category::helper_argument},
    {"not found at offset", Category::helper_argument},
    {"bpf_rb_node pointer", Category::helper_argument},
    {"requires prog BTF", Category::helper_argument},
    {"kptr", Category::map_value_access},
    {"exception cb", Category::not_allowed},
    {"exception callback", Category::not_allowed},
    {"R6 != pointer to skb", Category::helper_argument},
    {"callback function cannot be", Category::helper_argument},
    {"already used by programs", Category::not_allowed},
    {"expected=", Category::helper_argument},
    {"expected pointer to ctx", Category::helper_argument},
    {"cannot pass map_type", Category::helper_argument},
    {"invalid map_ptr", Category::helper_argument},
    {"map pointer in", Category::helper_argument},
    {"zero-sized read", Category::helper_argument},
    {"use 'var &= const'", Category::helper_argument},
    {"either use unsigned or", Category::helper_argument},
    {"is not a known constant", Category::helper_argument},
    {"not a constant address", Category::helper_argument},
    {"does not point to a readonly map", Category::helper_argument},
    {"not zero-terminated", Category::helper_argument},
    {"passed to release", Category::helper_argument},
    {"has not been acquired", Category::helper_argument},
    {"doesn't have constant offset", Category::helper_argument},
    {"doesn't point to 'struct bpf_", Category::helper_argument},
    {"has no valid bpf_", Category::helper_argument},
    {"has to have BTF in order", Category::helper_argument},
    {"ptr R", Category::helper_argument},
    {"access var_off", Category::helper_argument},
    {"is not a scalar", Category::helper_argument},
    {"arg#", Category::helper_argument},
    {"Arg#", Category::helper_argument},
    {"Global function", Category::helper_argument},
    {"direct value access", Category::pointer_use},
    {"unbounded memory access", Category::memory_access},
    {"min value is negative", Category::memory_access},
    {"memory range", Category::memory_access},
    {" access off=", Category::context_access},
    {"unknown opcode", Category::malformed},
    {"reserved fields", Category::malformed},
    {"unreachable insn", Category::malformed},
    {"jump out of range", Category::malformed},
    {"middle of ldimm64", Category::malformed},
    {"last insn is not", Category::malformed},
    {"leads out of the program", Category::malformed},
    {"ld_imm64", Category::malformed},
    {"kernel btf_id", Category::malformed},
    {"negative offset disallowed", Category::malformed},
    {"fd_array", Category::malformed},
    {"fd_idx", Category::malformed},
    {"not pointing to valid bpf_map", Category::malformed},
    {"direct value offset", Category::malformed},
    {"missing btf func_info", Category::malformed},
    {"frame pointer is read only", Category::malformed},
    {"is invalid", Category::malformed},
    {"div by zero", Category::malformed},
    {"invalid atomic", Category::malformed},
    {"invalid may_goto", Category::malformed},
    {"invalid shift", Category::malformed},
    {"this one has", Category::malformed},
    {"are possible", Category::malformed},
    {"has reached the limit", Category::malformed},
    {"calls no function", Category::malformed},
};

// "fw.c:34:7: text of the line", or "instruction 5: r0 = *(u8 *)(r2 +0)".
std::string told(const CodePlace& place) {
  return fmt::format("{}: {}", short_place(place), text_of(place));
}

// Lines say nothing of a way within one line.
bool stays_in_line(const PathStep& step) {
  return step.at.has_line() && step.at.line == step.to.line && step.at.file == step.to.file;
}

std::string start_of(const PathStep& step) {
  if (!stays_in_line(step)) return told(step.at);
  return fmt::format("{}: instruction {}: {}", short_place(step.at), step.at.instruction,
                     step.at.disassembly);
}

std::string way_of(const PathStep& step) {
  constexpr std::string_view kWays[] = {"jumps to", "goes on at", "calls the function at"};
  const std::string where = step.to.has_line() && !stays_in_line(step)
                                ? fmt::format("line {}", step.to.line)
                                : fmt::format("instruction {}", step.to.instruction);
  return fmt::format("{} {}{}", kWays[static_cast<size_t>(step.way)], where,
                     step.times == 1 ? "" : fmt::format(", {} times", step.times));
}

std::string told(std::span<const PathStep> path) {
  std::string text;
  if (path.size() > kShownSteps) {
    text += fmt::format("  ({} decisions before)\n", path.size() - kShownSteps);
    path = path.last(kShownSteps);
  }
  size_t width = 0;
  for (const PathStep& step : path) width = std::max(width, start_of(step).size());
  width = std::min(width, kWidest);
  for (const PathStep& step : path) {
    text += fmt::format("  {:<{}}  {}\n", start_of(step), width, way_of(step));
  }
  return text;
}

}  // namespace

std::span<const CategoryRow> categories() { return kCategories; }

const CategoryRow& row_of(Category category) {
  return *std::ranges::find(kCategories, category, &CategoryRow::category);
}

Category category_of(std::string_view words) {
  const auto row = std::ranges::find_if(kPhrases, [words](const Phrase& phrase) {
    return words.find(phrase.words) != std::string_view::npos;
  });
  return row == std::end(kPhrases) ? Category::other : row->category;
}

std::string headline_of(const Rejection& rejection) {
  std::string text(row_of(rejection.category).title);
  if (rejection.place) text += " at " + short_place(*rejection.place);
  return text;
}

std::string words_of(const Rejection& rejection) {
  std::string text = fmt::format("{}\n", row_of(rejection.category).title);
  if (rejection.place) {
    text += told(*rejection.place) + "\n";
    if (rejection.place->has_line() && !rejection.place->text.empty()) {
      text += fmt::format("  instruction {}: {}\n", rejection.place->instruction,
                          rejection.place->disassembly);
    }
  }
  text += fmt::format("Reason: {}\n", rejection.reason);
  if (rejection.said != rejection.reason) {
    std::string said = rejection.said;
    std::ranges::replace(said, '\n', ' ');
    text += fmt::format("  (in Linux's words: {})\n", said);
  }
  if (!rejection.path.empty()) text += "Path:\n" + told(rejection.path);
  if (!rejection.suggestion.empty()) text += fmt::format("Suggestion: {}\n", rejection.suggestion);
  text.pop_back();
  return text;
}

}  // namespace xnic::vm
