// Common mistakes, each with a row in kRecognised: the reason as a sentence and what to do. They
// are recognised by the words of the refusal and the state before it, and told with what the path
// says of how it came so. Left out: mistakes with sockets and kernel functions.
// Test: tests/sim/verify_words_test.cpp.
#include "vm/verifier/advice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <vector>

#include "vm/helper.h"
#include "vm/program_type.h"

namespace xnic::vm::verifier {
namespace {

using Found = std::optional<Advice>;

// The number behind `key` in the words: number_after("off=14 size=2", "size=") is 2.
std::optional<int64_t> number_after(std::string_view words, std::string_view key) {
  const size_t at = words.find(key);
  if (at == std::string_view::npos) return {};
  int64_t number = 0;
  const char* begin = words.data() + at + key.size();
  const auto [end, error] = std::from_chars(begin, words.data() + words.size(), number);
  if (error != std::errc() || end == begin) return {};
  return number;
}

// The register that the words name, "R2 ..." or "... R2".
std::optional<uint32_t> register_in(std::string_view words) {
  for (size_t at = words.find('R'); at != std::string_view::npos; at = words.find('R', at + 1)) {
    const bool begins =
        at == 0 || words[at - 1] == ' ' || words[at - 1] == '\n' || words[at - 1] == '(';
    const auto number = number_after(words.substr(at), "R");
    if (begins && number && *number >= 0 && *number < static_cast<int64_t>(kRegisters)) {
      return static_cast<uint32_t>(*number);
    }
  }
  return {};
}

const Register* register_of(const Scene& scene) {
  const auto number = register_in(scene.words);
  return number ? &scene.state.frame()[*number] : nullptr;
}

bool writes(const bpf_insn& insn) {
  const Kind kind = opcode(insn).kind;
  return kind == Kind::store || kind == Kind::store_immediate || kind == Kind::atomic;
}

std::string_view accesses(const Scene& scene) {
  if (opcode(scene.insn()).kind == Kind::call) return "the call accesses";
  return writes(scene.insn()) ? "this writes" : "this reads";
}

std::string bytes_of(int64_t count) {
  return fmt::format("{} {}", count, count == 1 ? "byte" : "bytes");
}

// "bpf_map_lookup_elem at fw.c:31:9"
std::string call_at(const Scene& scene, uint32_t instruction) {
  const bpf_insn& insn = scene.program.instructions()[instruction];
  const Helper* helper = opcode(insn).kind == Kind::call && insn.src_reg == 0
                             ? find_helper(static_cast<uint32_t>(insn.imm))
                             : nullptr;
  if (helper == nullptr) return fmt::format("{}", scene.where(instruction));
  return fmt::format("{} at {}", helper->name, scene.where(instruction));
}

std::string range_of(const Register& r) {
  const auto& full = r.number.full;
  if (r.number.is_constant()) return fmt::format("{}", full.smin);
  const auto side = [](int64_t value, int64_t none, std::string_view word) {
    return value == none ? std::string(word) : fmt::format("{}", value);
  };
  return fmt::format("from {} to {}", side(full.smin, INT64_MIN, "-2^63"),
                     side(full.smax, INT64_MAX, "2^63-1"));
}

// A packet pointer, or a number in it, that no comparison with the end covers.
Found packet_access(const Scene& scene) {
  const Register* base = register_of(scene);
  if (base == nullptr || !base->is_packet()) return {};
  const std::string_view end = base->type == Type::packet_meta ? "data" : "data_end";
  const auto off = number_after(scene.words, "off=");
  const auto size = number_after(scene.words, "size=");
  if (!off || !size) {
    return Advice{
        fmt::format("the offset into the packet may be negative: it is {}", range_of(*base)),
        "Make the offset unsigned, or compare it with 0 before it is added to the "
        "pointer."};
  }
  const int64_t behind = *off + *size;
  const std::string_view origin = base->id == 0 ? "the packet" : "where the variable offset leads";
  const std::string what =
      fmt::format("{} {} at offset {} of {}", accesses(scene), bytes_of(*size), *off, origin);
  if (base->extent < 0) {
    return Advice{
        fmt::format("{}, and on this path the pointer is known to be at or behind {}", what, end),
        fmt::format("The comparison with {} leads the wrong way: access the packet where it is "
                    "long enough, and leave where it is not.",
                    end)};
  }
  if (base->extent == 0) {
    constexpr uint64_t kMostProvable = 0xffff;
    if (base->number.full.umax > kMostProvable) {
      return Advice{
          fmt::format("{}, and as the variable offset may be {}, above 65535, comparing the "
                      "pointer with {} proves nothing",
                      what, range_of(*base), end),
          "Missing bounds check: limit the offset before it is added to the pointer, as with "
          "`offset &= 0x3fff`, and then compare with data_end."};
    }
    return Advice{fmt::format("{}, and on this path nothing is proven to be there", what),
                  fmt::format("Missing bounds check: before this, leave if `pointer + {} > {}`.",
                              behind, end)};
  }
  if (*off < 0) {
    return Advice{fmt::format("{}, which is before its start", what),
                  "Use bpf_xdp_adjust_head() or data_meta to reach what is in front."};
  }
  const auto proof = scene.origins.proof(base->type, base->id);
  return Advice{
      fmt::format("{}, which is {} past what is proven to be there: {}{}", what,
                  bytes_of(behind - base->extent), bytes_of(base->extent),
                  proof ? fmt::format(", by the comparison at {}", scene.where(*proof)) : ""),
      fmt::format("The bounds check is {} short: compare `pointer + {}` with {} instead of "
                  "`pointer + {}`.",
                  bytes_of(behind - base->extent), behind, end, base->extent)};
}

Found null_pointer(const Scene& scene) {
  const Register* pointer = register_of(scene);
  if (pointer == nullptr || !pointer->maybe_null) return {};
  const auto maker = scene.origins.maker(pointer->id);
  return Advice{
      fmt::format("R{} may be NULL here{}", *register_in(scene.words),
                  maker ? fmt::format(": it comes from {}, and no comparison with NULL follows on "
                                      "this path",
                                      call_at(scene, *maker))
                        : ""),
      "Missing NULL check: before this, leave if the pointer is NULL, as with `if (!pointer) "
      "return XDP_PASS;`."};
}

Found map_value_access(const Scene& scene) {
  const Register* base = register_of(scene);
  if (base == nullptr || base->type != Type::map_value || base->map == nullptr) return {};
  const std::string value = fmt::format("a value of map {}, which has {}", base->map->name,
                                        bytes_of(base->map->value_size));
  if (base->number.is_constant()) {
    const auto off = number_after(scene.words, " off=");
    const auto size = number_after(scene.words, " size=");
    if (!off || !size) return {};
    const auto limit = static_cast<int64_t>(base->map->value_size);
    const std::string past = *off + *size > limit
                                 ? fmt::format(": {} past its end", bytes_of(*off + *size - limit))
                                 : std::string(": before its start");
    return Advice{fmt::format("{} {} at offset {} of {}{}", accesses(scene), bytes_of(*size), *off,
                              value, past),
                  "Check the size that the map is declared with, and the index."};
  }
  return Advice{fmt::format("the index into {}, is not limited to it: as bytes it is {}", value,
                            range_of(*base)),
                "Missing bounds check: compare the index with the number of elements right before, "
                "in an unsigned type, or mask it with `index &= N - 1` where N is a power of 2."};
}

Found memory_access(const Scene& scene) {
  const Register* base = register_of(scene);
  if (base == nullptr || (base->type != Type::memory && base->type != Type::record)) return {};
  const auto off = number_after(scene.words, " off=");
  const auto size = number_after(scene.words, " size=");
  if (!off || !size) return {};
  return Advice{fmt::format("{} {} at offset {} of {} of {}", accesses(scene), bytes_of(*size),
                            *off, base->type == Type::record ? "a ring buffer record" : "memory",
                            bytes_of(base->extent)),
                "Check the size, and limit the offset where it is variable."};
}

Found alignment(const Scene& scene) {
  const auto size = number_after(scene.words, "size ");
  if (!size) return {};
  const bool reads = opcode(scene.insn()).kind == Kind::load;
  const Register& base = scene.state.frame()[reads ? scene.insn().src_reg : scene.insn().dst_reg];
  if (base.type != Type::stack || !base.number.is_constant()) {
    return Advice{fmt::format("{} {} at an address that is no multiple of {}", accesses(scene),
                              bytes_of(*size), *size),
                  fmt::format("Align what is accessed to {}, or access it in smaller pieces.",
                              bytes_of(*size))};
  }
  return Advice{
      fmt::format("{} {} at r10{:+d} of the stack, which is no multiple of {}", accesses(scene),
                  bytes_of(*size), base.offset + scene.insn().off, *size),
      fmt::format("Unaligned key or value on the stack: declare the variable with "
                  "`__attribute__((aligned({})))`, and give a packed struct no members across "
                  "multiples of their size.",
                  *size)};
}

Found stack_access(const Scene& scene) {
  const auto number = register_in(scene.words);
  if (!number) return {};
  const Register& base = scene.state.frame()[*number];
  if (base.type != Type::stack) return {};
  if (!base.number.is_constant()) {
    return Advice{fmt::format("the index into the stack is not limited to what lies there: as "
                              "bytes it is {} from r10{:+d} on",
                              range_of(base), base.offset),
                  "Missing bounds check: compare the index with the size of the array right "
                  "before, in an unsigned type."};
  }
  const auto off = number_after(scene.words, "off=");
  const auto size = number_after(scene.words, "size=");
  if (!off || !size) return {};
  const std::string what = fmt::format("{} {} at r10{:+d}", accesses(scene), bytes_of(*size), *off);
  if (*off < -static_cast<int64_t>(kFrameBytes)) {
    return Advice{fmt::format("{}, and a function has {} of stack", what, bytes_of(kFrameBytes)),
                  "Keep large buffers in a value of a BPF_MAP_TYPE_PERCPU_ARRAY with one element."};
  }
  return Advice{fmt::format("{}, which reaches past the start of the frame, r10+0, by {}", what,
                            bytes_of(*off + *size)),
                "Check the size against that of the variable, and the index into it."};
}

Found uninitialised(const Scene& scene) {
  const auto number = register_in(scene.words);
  if (!number) return {};
  if (*number == 0 && opcode(scene.insn()).kind == Kind::exit) {
    return Advice{
        "the program ends here without a return value: R0 was never given one on this "
        "path",
        "Return a value on every path."};
  }
  if (const auto loser = scene.origins.loser(*number)) {
    return Advice{fmt::format("R{} holds nothing any more: the call at {} leaves nothing in R1 to "
                              "R5",
                              *number, scene.where(*loser)),
                  "Keep what is needed after a call in R6 to R9 or on the stack."};
  }
  return Advice{fmt::format("R{} is read, and nothing was written to it on this path", *number),
                "Give the variable a value where it is declared."};
}

// The conditional jump, or jump, that the path met most often.
std::optional<std::pair<uint32_t, size_t>> busiest_jump(const Scene& scene) {
  std::map<uint32_t, size_t> counts;
  for (const uint32_t index : scene.path) {
    const bpf_insn& insn = scene.program.instructions()[index];
    if (jumps(opcode(insn).kind)) ++counts[index];
  }
  const auto most = std::ranges::max_element(counts, {}, [](const auto& c) { return c.second; });
  if (most == counts.end() || most->second < 2) return {};
  return *most;
}

Found loop(const Scene& scene) {
  const std::string bound =
      "give the loop a counter and a limit that is a constant, or use bpf_loop()";
  if (scene.words.find("infinite loop") != std::string_view::npos) {
    return Advice{"the loop comes back to here with everything as it was before, so it never ends",
                  fmt::format("Unbounded loop: {}.", bound)};
  }
  const auto busiest = busiest_jump(scene);
  const std::string reason =
      fmt::format("the verifier has followed {} without coming to an end",
                  scene.words.find("too large") != std::string_view::npos ? "1,000,000 instructions"
                                                                          : "too many branches");
  if (!busiest) {
    return Advice{reason,
                  "Split the program with tail calls, or move parts into global functions."};
  }
  return Advice{fmt::format("{}; this path alone came to {} {} times", reason,
                            scene.where(busiest->first), busiest->second),
                fmt::format("Unbounded loop, or one with too many turns: {}.", bound)};
}

Found reference_leak(const Scene& scene) {
  if (scene.state.references.empty()) return {};
  const auto id = number_after(scene.words, "id=");
  const auto reference = std::ranges::find(scene.state.references,
                                           static_cast<uint32_t>(id.value_or(0)), &Reference::id);
  if (reference == scene.state.references.end()) return {};
  const uint32_t at = reference->acquired_at;
  const bpf_insn& call = scene.program.instructions()[at];
  const bool record = call.src_reg == 0 && call.imm == BPF_FUNC_ringbuf_reserve;
  return Advice{
      fmt::format("what {} acquired is not given back on this path", call_at(scene, at)),
      record ? "Call bpf_ringbuf_submit() or bpf_ringbuf_discard() on every path behind it, early "
               "returns too."
             : "Release it on every path behind it, early returns too."};
}

Found lock(const Scene& scene) {
  const auto locked = scene.origins.locker();
  const std::string where = locked ? fmt::format(" at {}", scene.where(*locked)) : "";
  if (scene.words.find("Locking two") != std::string_view::npos) {
    return Advice{fmt::format("a spin lock, taken{}, is held already", where),
                  "Hold one lock at a time."};
  }
  if (scene.state.lock_id == 0) {
    return Advice{"no lock is held on this path", "Unlock only behind bpf_spin_lock()."};
  }
  if (scene.words.find("different lock") != std::string_view::npos) {
    return Advice{fmt::format("the lock that is held was taken{} in another value", where),
                  "Unlock the value that was locked."};
  }
  if (opcode(scene.insn()).kind == Kind::exit) {
    return Advice{fmt::format("the spin lock taken{} is still held when the program ends", where),
                  "Call bpf_spin_unlock() on every path behind it, early returns too."};
  }
  return Advice{fmt::format("this is called while the spin lock taken{} is held", where),
                "Make the call before bpf_spin_lock() or after bpf_spin_unlock()."};
}

Found read_only(const Scene& scene) {
  const Register* base = register_of(scene);
  std::string name = "it";
  for (const uint32_t number : {uint32_t{1}, base != nullptr ? *register_in(scene.words) : 1}) {
    const Register& r = scene.state.frame()[number];
    if (r.map != nullptr) name = fmt::format("map {}", r.map->name);
  }
  if (scene.words.find("read from") != std::string_view::npos) {
    return Advice{fmt::format("programs may only write to {}", name),
                  "Take BPF_F_WRONLY_PROG from the map's flags."};
  }
  return Advice{fmt::format("programs may only read {}", name),
                "Take BPF_F_RDONLY_PROG from the map's flags; a global variable that is written "
                "must not be const."};
}

Found return_value(const Scene& scene) {
  if (scene.words.find("callback return") == std::string_view::npos) return {};
  const bool later = scene.words.find("async") != std::string_view::npos;
  return Advice{
      fmt::format(
          "a callback returns {}, and here R0 is {}", later ? "0" : "0 to go on or 1 to stop",
          scene.state.frame()[0].is_scalar() ? range_of(scene.state.frame()[0]) : "no number"),
      later ? "Return 0." : "Return 0 or 1."};
}

std::string types_with(uint32_t id) {
  constexpr std::pair<uint32_t, std::string_view> kTypes[] = {
      {kXdp, "XDP"}, {kTc, "tc"}, {kSocketFilter, "socket filter"}};
  std::vector<std::string_view> names;
  for (const auto& [set, name] : kTypes) {
    if (find_helper(id, set) != nullptr) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

Found not_allowed(const Scene& scene) {
  const bpf_insn& insn = scene.insn();
  if (scene.words.find("GPL") != std::string_view::npos) {
    return Advice{"only programs under a license that goes with the GPL may call this",
                  "Add `char _license[] SEC(\"license\") = \"GPL\";` if that is the license."};
  }
  if (opcode(insn).kind != Kind::call || insn.src_reg != 0) return {};
  const auto id = static_cast<uint32_t>(insn.imm);
  const Helper* helper = find_helper(id);
  const ProgramType* type = find_program_type(scene.program.spec().type);
  if (helper == nullptr || type == nullptr) {
    return Advice{fmt::format("helper {} does not exist here", insn.imm),
                  "docs/compatibility.md says which helpers do."};
  }
  return Advice{fmt::format("{}() is not for programs of type {}", helper->name, type->name),
                fmt::format("It can be called by programs of these types: {}.", types_with(id))};
}

// A number that is added to a pointer and may be anything.
Found pointer_arithmetic(const Scene& scene) {
  const bool unbounded = scene.words.find("unbounded min value") != std::string_view::npos ||
                         scene.words.find("be out of bounds") != std::string_view::npos;
  const Opcode& op = opcode(scene.insn());
  if (!unbounded || op.kind != Kind::alu || !op.source_register) return {};
  const bool target_is_number = scene.state.frame()[scene.insn().dst_reg].is_scalar();
  const uint32_t number = target_is_number ? scene.insn().dst_reg : scene.insn().src_reg;
  return Advice{fmt::format("R{} is added to a pointer and is not limited: it is {}", number,
                            range_of(scene.state.frame()[number])),
                "Missing bounds check: make the offset unsigned, and compare it with its limit "
                "before it is added to the pointer."};
}

Found pointer_use(const Scene& scene) {
  const auto number = register_in(scene.words);
  if (!number || scene.words.find("invalid mem access 'scalar'") == std::string_view::npos) {
    return {};
  }
  if (const auto voider = scene.origins.voider(*number)) {
    return Advice{fmt::format("R{} pointed into the packet until {} made all such pointers void",
                              *number, call_at(scene, *voider)),
                  "Read data and data_end from the context again behind the call, and compare "
                  "them again."};
  }
  return Advice{fmt::format("R{} is a number, not a pointer that may be used", *number), ""};
}

Found context_access(const Scene& scene) {
  const auto off = number_after(scene.words, "off=");
  const auto size = number_after(scene.words, "size=");
  const ProgramType* type = find_program_type(scene.program.spec().type);
  if (!off || !size || type == nullptr) return {};
  const auto field = std::ranges::find_if(type->fields, [&](const ContextField& f) {
    return f.offset <= *off && *off < f.offset + f.size;
  });
  const bool exists = field != type->fields.end();
  const std::string what =
      exists ? fmt::format("{} at offset {} of the context's field {}", bytes_of(*size),
                           *off - field->offset, field->name)
             : fmt::format("{} at offset {} of the context", bytes_of(*size), *off);
  return Advice{fmt::format("programs of type {} may not {} {}", type->name,
                            writes(scene.insn()) ? "write" : "read", what),
                exists && !writes(scene.insn())
                    ? "Read the field whole, with the type that it is declared with."
                    : ""};
}

struct Row {
  Category category;
  Found (*recognise)(const Scene&);
};

constexpr Row kRecognised[] = {
    {Category::packet_access, packet_access},
    {Category::null_pointer, null_pointer},
    {Category::map_value_access, map_value_access},
    {Category::memory_access, memory_access},
    {Category::alignment, alignment},
    {Category::stack_access, stack_access},
    {Category::uninitialised_register, uninitialised},
    {Category::loop, loop},
    {Category::reference_leak, reference_leak},
    {Category::lock, lock},
    {Category::read_only, read_only},
    {Category::return_value, return_value},
    {Category::not_allowed, not_allowed},
    {Category::pointer_use, pointer_arithmetic},
    {Category::pointer_use, pointer_use},
    {Category::context_access, context_access},
};

}  // namespace

std::string Scene::where(uint32_t instruction) const {
  return short_place(place_of(program, instruction));
}

Found advice_for(const Scene& scene) {
  for (const Row& row : kRecognised) {
    if (row.category != scene.category) continue;
    if (Found advice = row.recognise(scene)) return advice;
  }
  return {};
}

}  // namespace xnic::vm::verifier
