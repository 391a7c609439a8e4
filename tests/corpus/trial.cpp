// One program of the corpus on both kernels. Left out: values of maps that hold other objects, what
// user space would do with the program beside loading it.
// Shown to work by what it finds: docs/compatibility.md.
#include "tests/corpus/trial.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "sim/comparison.h"
#include "sim/object_listing.h"
#include "vm/helper.h"
#include "vm/interpreter.h"
#include "vm/libbpf_words.h"
#include "vm/map.h"
#include "vm/object_file.h"
#include "vm/program_type.h"

namespace xnic::test {
namespace {

using nlohmann::json;
using sim::KernelSide;
using sim::SideMap;
using sim::SideProgram;

constexpr uint64_t kSeed = 1;
constexpr size_t kLogSize = 16 * 1024 * 1024;
constexpr uint32_t kLargeMap = 20000;  // entries; larger ones take too long to read
constexpr size_t kKeysOfAMap = 64;
// libbpf writes calls of such ids where a relocation found nothing; they are never reached.
constexpr uint32_t kPoison = 100000;

std::string program_type_name(bpf_prog_type type) {
  const char* name = libbpf_bpf_prog_type_str(type);
  return name == nullptr ? std::to_string(type) : name;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// The line of a verifier's log that gives the reason: the last before the statistics.
std::string reason_of(std::string_view log) {
  auto lines = lines_of(log);
  const auto is_statistics = [](std::string_view line) {
    return line.starts_with("processed ") || line.starts_with("verification time") ||
           line.starts_with("stack depth") || line.starts_with("max_states") ||
           line.starts_with("mark_precise");
  };
  while (!lines.empty() && is_statistics(lines.back())) lines.pop_back();
  return lines.empty() ? "" : std::string(lines.back());
}

// Maps whose size the loader gives, as those of the kernel's samples do for each CPU.
void give_sizes(bpf_object* object) {
  constexpr std::array kSized = {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_HASH,
                                 BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_CPUMAP};
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object, map)) != nullptr) {
    const bool sized = std::ranges::find(kSized, bpf_map__type(map)) != kSized.end();
    if (sized && bpf_map__max_entries(map) == 0) {
      bpf_map__set_max_entries(map, sim::real_possible_cpus());
    }
  }
}

// Has the chosen programs loaded, each as the type that it is tried as; `see` gets each of them.
sim::SideOptions loading(std::span<const Candidate> chosen,
                         const std::function<void(bpf_program*)>& see = nullptr) {
  return {.prepare = [chosen, see](bpf_object* object) {
    give_sizes(object);
    bpf_program* program = nullptr;
    while ((program = bpf_object__next_program(object, program)) != nullptr) {
      const auto choice =
          std::ranges::find(chosen, std::string_view(bpf_program__name(program)), &Candidate::name);
      bpf_program__set_autoload(program, choice != chosen.end());
      if (choice == chosen.end()) continue;
      if (bpf_program__type(program) != choice->type) bpf_program__set_type(program, choice->type);
      if (see) see(program);
    }
  }};
}

// A kernel's side of a trial, or why the kernel does not take the program.
struct Attempt {
  std::unique_ptr<KernelSide> side;
  bpf_program* program = nullptr;
  std::string refusal;              // "" if it loads
  bool uninitialised_slot = false;  // a prog_array is initialised with a program left out
};

// `engine` runs programs in the emulated kernel; null for the real one.
Attempt attempt(const std::string& path, std::span<const Candidate> chosen,
                const std::string& wanted, vm::Engine* engine) {
  Attempt made;
  std::vector<char> log(kLogSize);
  const sim::SideOptions options = loading(chosen, [&](bpf_program* program) {
    if (bpf_program__name(program) != wanted) return;
    made.program = program;
    bpf_program__set_log_buf(program, log.data(), log.size());
  });
  auto side = engine == nullptr ? KernelSide::real(path, options)
                                : KernelSide::emulated(path, *engine, kSeed, options);
  if (side) {
    made.side = std::move(*side);
    return made;
  }
  const std::string& words = vm::libbpf_words();
  made.uninitialised_slot = words.find("failed to initialize slot") != words.npos;
  constexpr std::string_view kFailed = "BPF program load failed: ";
  const size_t failed = words.find(kFailed);
  if (failed == words.npos) {
    made.refusal = words.empty() ? side.error().message : vm::first_libbpf_words();
    return made;
  }
  const size_t from = failed + kFailed.size();
  const std::string error = words.substr(from, words.find('\n', from) - from);
  const std::string reason = reason_of(log.data());
  made.refusal = reason.empty() ? error : fmt::format("{}: {}", error, reason);
  return made;
}

std::string kernel_function_name(int32_t btf_id) {
  static btf* const types = btf__load_vmlinux_btf();
  if (types == nullptr) return fmt::format("number {}", btf_id);
  const btf_type* type = btf__type_by_id(types, static_cast<uint32_t>(btf_id));
  const char* name = type == nullptr ? nullptr : btf__name_by_offset(types, type->name_off);
  return name == nullptr ? fmt::format("number {}", btf_id) : name;
}

// What a loaded program and the maps of its object ask for that does not exist here.
std::set<std::string> missing_for(const KernelSide& side, const SideProgram& program) {
  std::set<std::string> missing;
  for (const SideMap& map : side.maps()) {
    if (vm::find_map_type(map.type) != nullptr) continue;
    const char* name = libbpf_bpf_map_type_str(map.type);
    missing.insert(
        fmt::format("map type {}", name == nullptr ? std::to_string(map.type) : std::string(name)));
  }
  const vm::ProgramType* row = vm::find_program_type(program.type);
  if (row == nullptr) missing.insert("program type " + program_type_name(program.type));
  const std::vector<bpf_insn>& code = program.instructions;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i].code == (BPF_LD | BPF_IMM | BPF_DW)) {
      ++i;
      continue;
    }
    if (code[i].code != (BPF_JMP | BPF_CALL)) continue;
    if (code[i].src_reg == BPF_PSEUDO_KFUNC_CALL) {
      missing.insert("kfunc " + kernel_function_name(code[i].imm));
    } else if (code[i].src_reg == 0) {
      const auto id = static_cast<uint32_t>(code[i].imm);
      if (id < kPoison && row != nullptr && vm::find_helper(id, row->helper_set) == nullptr) {
        missing.insert("helper " + sim::helper_name(code[i].imm));
      }
    }
  }
  return missing;
}

// What the packets hold at the places of addresses and ports, as keys of this size.
std::set<Bytes> keys_in(std::span<const Bytes> packets, uint32_t size) {
  struct Place {
    uint32_t size;
    size_t offset;
  };
  constexpr std::array<Place, 8> kPlaces = {
      {{6, 0}, {6, 6}, {4, 26}, {4, 30}, {2, 34}, {2, 36}, {16, 22}, {16, 38}}};
  std::set<Bytes> keys;
  for (const Bytes& packet : packets) {
    for (const Place& place : kPlaces) {
      if (place.size != size || packet.size() < place.offset + size) continue;
      const auto at = packet.begin() + static_cast<ptrdiff_t>(place.offset);
      keys.insert(Bytes(at, at + size));
    }
  }
  return keys;
}

// Puts addresses and ports of the packets into the hash and prefix maps, the same on every side, so
// that lookups hit and miss. Refusals are no matter here: they are the same on both sides or the
// maps differ in the end.
void fill_maps(KernelSide& side, std::span<const Bytes> packets) {
  for (const SideMap& map : side.maps()) {
    const bool prefix = map.type == BPF_MAP_TYPE_LPM_TRIE;
    const bool hash = map.type == BPF_MAP_TYPE_HASH || map.type == BPF_MAP_TYPE_PERCPU_HASH ||
                      map.type == BPF_MAP_TYPE_LRU_HASH || map.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
    if ((!prefix && !hash) || map.key_size < (prefix ? 5 : 1)) continue;
    const uint32_t size = prefix ? map.key_size - 4 : map.key_size;
    size_t count = 0;
    for (const Bytes& found : keys_in(packets, size)) {
      if (++count > std::min<size_t>(kKeysOfAMap, map.max_entries)) break;
      if (count % 2 == 0) continue;
      Bytes key(map.key_size);
      if (prefix) key[0] = static_cast<uint8_t>(size * 6);
      std::copy(found.begin(), found.end(), key.end() - size);
      Bytes value(map.value_size);
      if (!value.empty()) value[0] = 1;
      side.update(map, key, value);
    }
  }
}

// What differs, in words: "packet 3, return_code: xnic 1, Linux 2".
std::string words_of(const sim::Difference& d) {
  std::string text = d.packet == 0 ? d.field : fmt::format("packet {}, {}", d.packet, d.field);
  if (!d.key.empty()) text += fmt::format(", key {}", d.key);
  if (d.offset) text += fmt::format(", from byte {}", *d.offset);
  return text + fmt::format(": xnic {}, Linux {}", d.ours, d.kernel);
}

std::vector<sim::NumberedPacket> numbered(std::span<const Bytes> packets) {
  std::vector<sim::NumberedPacket> rows;
  for (const Bytes& packet : packets) rows.push_back({rows.size() + 1, packet});
  return rows;
}

sim::ComparisonResult compared(KernelSide& ours, KernelSide& theirs, const Candidate& candidate,
                               std::span<const Bytes> packets,
                               const sim::Witnesses& witnesses = {}) {
  fill_maps(ours, packets);
  fill_maps(theirs, packets);
  for (const auto* list : {&witnesses.ours, &witnesses.kernel}) {
    for (const sim::Witness& witness : *list) fill_maps(*witness.side, packets);
  }
  sim::Comparison comparison(ours, theirs, {.program = candidate.name, .largest_map = kLargeMap},
                             &witnesses);
  comparison.run("", numbered(packets));
  return comparison.result();
}

}  // namespace

std::vector<Candidate> candidates(const std::string& path, bool guess, std::string& error) {
  std::vector<Candidate> found;
  const auto file = vm::ObjectFile::read(path).and_then(
      [&](const std::vector<uint8_t>& bytes) { return vm::ObjectFile::open(path, bytes); });
  if (!file) {
    error = file.error().message;
    return found;
  }
  bpf_object* const object = file->object();
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    const std::string section = bpf_program__section_name(program);
    bpf_prog_type type = bpf_program__type(program);
    if (type == BPF_PROG_TYPE_UNSPEC && guess) type = BPF_PROG_TYPE_SCHED_CLS;
    if (type == BPF_PROG_TYPE_XDP || type == BPF_PROG_TYPE_SCHED_CLS ||
        type == BPF_PROG_TYPE_SCHED_ACT) {
      found.push_back({bpf_program__name(program), section, type});
    }
  }
  return found;
}

void try_program(const std::string& path, const Candidate& candidate,
                 std::span<const Candidate> all, std::span<const Bytes> packets,
                 const std::function<void(const json&)>& tell) {
  json report = {{"name", candidate.name},
                 {"section", candidate.section},
                 {"type", program_type_name(candidate.type)}};
  const auto step = [&](const char* name) {
    report["step"] = name;
    tell(report);
  };

  step("load in Linux");
  std::span<const Candidate> chosen(&candidate, 1);
  Attempt theirs = attempt(path, chosen, candidate.name, nullptr);
  if (theirs.uninitialised_slot) {
    chosen = all;
    theirs = attempt(path, chosen, candidate.name, nullptr);
  }
  report["linux"] = theirs.refusal;
  const SideProgram* program = theirs.side ? theirs.side->program(candidate.name) : nullptr;
  if (program != nullptr) report["needs"] = missing_for(*theirs.side, *program);

  step("load");
  vm::Interpreter interpreter;
  Attempt ours = attempt(path, chosen, candidate.name, &interpreter);
  report["xnic"] = ours.refusal;
  if (program != nullptr && ours.side) {
    step("run");
    sim::ComparisonResult result = compared(*ours.side, *theirs.side, candidate, packets);
    if (!result.differences.empty()) {
      step("run with witnesses");
      ours = attempt(path, chosen, candidate.name, &interpreter);
      theirs = attempt(path, chosen, candidate.name, nullptr);
      auto witnesses = sim::call_witnesses(path, interpreter, kSeed, loading(chosen));
      if (ours.side && theirs.side && witnesses) {
        result = compared(*ours.side, *theirs.side, candidate, packets, *witnesses);
      }
    }
    report["compared"] = result.compared;
    report["differing"] = result.differences.size();
    if (!result.differences.empty()) report["difference"] = words_of(result.differences[0]);
    if (!result.excused.empty()) {
      report["excused"] = result.excused.size();
      report["excuse"] = fmt::format("{}: {}", result.excused[0].field, result.excused[0].reason);
    }
  }
  step("done");
}

}  // namespace xnic::test
