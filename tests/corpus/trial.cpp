// One program of the corpus on both kernels. Left out: per-CPU values of CPUs other than 0, values
// of maps that hold other objects, what user space would do with the program beside loading it.
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

#include "tests/corpus/side.h"
#include "vm/helper.h"
#include "vm/interpreter.h"
#include "vm/map.h"
#include "vm/program_type.h"

namespace xnic::test {
namespace {

using nlohmann::json;

constexpr size_t kLogSize = 16 * 1024 * 1024;
constexpr uint32_t kLargeMap = 20000;  // entries; larger ones take too long to read
constexpr size_t kKeysOfAMap = 64;
// libbpf writes calls of such ids where a relocation found nothing; they are never reached.
constexpr uint32_t kPoison = 100000;

// Section names of tc programs that libbpf 1.1 does not know.
constexpr std::array kTcSections = {"tc/ingress", "tc/egress",      "tcx/ingress",
                                    "tcx/egress", "netkit/primary", "netkit/peer"};

void teach_section_names() {
  for (const char* section : kTcSections) {
    libbpf_register_prog_handler(section, BPF_PROG_TYPE_SCHED_CLS, static_cast<bpf_attach_type>(0),
                                 nullptr);
  }
}

std::string helper_name(uint32_t id) {
#define XNIC_NAME(name) "bpf_" #name
  static constexpr std::array kNames = {__BPF_FUNC_MAPPER(XNIC_NAME)};
#undef XNIC_NAME
  return id < kNames.size() ? kNames[id] : fmt::format("number {}", id);
}

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

// What libbpf gives as the reason: its first line that is no notice.
std::string complaint_of(std::string_view words) {
  constexpr std::string_view kPrefix = "libbpf: ";
  for (std::string_view line : lines_of(words)) {
    const size_t at = line.find(kPrefix);
    if (at == line.npos || line.find("skipping") != line.npos ||
        line.find("Retrying without BTF") != line.npos ||
        line.find("kernel doesn't support") != line.npos ||
        line.find("Kernel doesn't support") != line.npos) {
      continue;
    }
    return std::string(line.substr(at + kPrefix.size()));
  }
  return std::string(words.substr(0, words.find('\n')));
}

// Loads the chosen programs of an object into one kernel and keeps what the verifier said.
class Attempt {
 public:
  explicit Attempt(vm::Engine* engine) : side_(engine), log_(kLogSize) {}

  // "" or the reason why not.
  std::string load(const std::string& path, std::span<const Candidate> chosen,
                   const std::string& wanted) {
    const std::string words = side_.load(path, [&](bpf_object* object) {
      object_ = object;
      bpf_program* program = nullptr;
      while ((program = bpf_object__next_program(object, program)) != nullptr) {
        const std::string_view name = bpf_program__name(program);
        const auto choice = std::find_if(chosen.begin(), chosen.end(),
                                         [&](const Candidate& row) { return row.name == name; });
        bpf_program__set_autoload(program, choice != chosen.end());
        if (choice == chosen.end()) continue;
        if (bpf_program__type(program) != choice->type) {
          bpf_program__set_type(program, choice->type);
        }
        if (name != wanted) continue;
        program_ = program;
        bpf_program__set_log_buf(program, log_.data(), log_.size());
      }
    });
    if (words.empty()) return {};
    uninitialised_slot_ = words.find("failed to initialize slot") != words.npos;
    constexpr std::string_view kFailed = "BPF program load failed: ";
    const size_t failed = words.find(kFailed);
    if (failed == words.npos) return complaint_of(words);
    const size_t from = failed + kFailed.size();
    const std::string error = words.substr(from, words.find('\n', from) - from);
    const std::string reason = reason_of(log_.data());
    return reason.empty() ? error : fmt::format("{}: {}", error, reason);
  }

  Side& side() { return side_; }
  bpf_object* object() { return object_; }
  bpf_program* program() { return program_; }
  // Whether it failed because a prog_array is initialised with a program that was left out.
  bool uninitialised_slot() const { return uninitialised_slot_; }

 private:
  Side side_;
  std::vector<char> log_;
  bpf_object* object_ = nullptr;
  bpf_program* program_ = nullptr;
  bool uninitialised_slot_ = false;
};

// What a loaded program and the maps of its object ask of a kernel.
struct Demands {
  std::set<std::string> missing;
  std::set<std::string> varying;
};

std::string kernel_function_name(int32_t btf_id) {
  static btf* const types = btf__load_vmlinux_btf();
  if (types == nullptr) return fmt::format("number {}", btf_id);
  const btf_type* type = btf__type_by_id(types, static_cast<uint32_t>(btf_id));
  const char* name = type == nullptr ? nullptr : btf__name_by_offset(types, type->name_off);
  return name == nullptr ? fmt::format("number {}", btf_id) : name;
}

Demands demands_of(bpf_object* object, bpf_program* program, bpf_prog_type type) {
  constexpr std::array<uint32_t, 8> kVarying = {
      BPF_FUNC_ktime_get_ns,        BPF_FUNC_ktime_get_boot_ns,
      BPF_FUNC_ktime_get_coarse_ns, BPF_FUNC_ktime_get_tai_ns,
      BPF_FUNC_jiffies64,           BPF_FUNC_get_prandom_u32,
      BPF_FUNC_get_current_task,    BPF_FUNC_get_current_pid_tgid,
  };
  Demands demands;
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object, map)) != nullptr) {
    if (bpf_map__fd(map) < 0 || vm::find_map_type(bpf_map__type(map)) != nullptr) continue;
    const char* name = libbpf_bpf_map_type_str(bpf_map__type(map));
    demands.missing.insert(fmt::format(
        "map type {}", name == nullptr ? std::to_string(bpf_map__type(map)) : std::string(name)));
  }
  const vm::ProgramType* row = vm::find_program_type(type);
  if (row == nullptr) demands.missing.insert("program type " + program_type_name(type));
  const bpf_insn* code = bpf_program__insns(program);
  for (size_t i = 0; i < bpf_program__insn_cnt(program); ++i) {
    if (code[i].code == (BPF_LD | BPF_IMM | BPF_DW)) {
      ++i;
      continue;
    }
    if (code[i].code != (BPF_JMP | BPF_CALL)) continue;
    if (code[i].src_reg == BPF_PSEUDO_KFUNC_CALL) {
      demands.missing.insert("kfunc " + kernel_function_name(code[i].imm));
    } else if (code[i].src_reg == 0) {
      const auto id = static_cast<uint32_t>(code[i].imm);
      if (id >= kPoison) continue;
      if (row != nullptr && vm::find_helper(id, row->helper_set) == nullptr) {
        demands.missing.insert("helper " + helper_name(id));
      }
      if (std::find(kVarying.begin(), kVarying.end(), id) != kVarying.end()) {
        demands.varying.insert(helper_name(id));
      }
    }
  }
  return demands;
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
void fill_maps(Side& side, std::span<const Bytes> packets) {
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

RunRequest request_for(const Bytes& packet, bpf_prog_type type) {
  RunRequest request;
  request.data = packet;
  request.data_room = static_cast<uint32_t>(packet.size()) + 0x1000;
  request.context_room = type == BPF_PROG_TYPE_XDP ? sizeof(xdp_md) : sizeof(__sk_buff);
  return request;
}

bool has_comparable_values(const SideMap& map) {
  constexpr std::array kOfObjects = {BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS,
                                     BPF_MAP_TYPE_PERF_EVENT_ARRAY};
  return map.max_entries <= kLargeMap &&
         std::find(kOfObjects.begin(), kOfObjects.end(), map.type) == kOfObjects.end();
}

class Findings {
 public:
  Findings(json& report, const std::function<void(const json&)>& tell)
      : report_(report), tell_(tell) {}

  void compared() { report_["compared"] = ++compared_; }
  void differs(std::string words) {
    if (differing_++ == 0) report_["difference"] = std::move(words);
    report_["differing"] = differing_;
  }
  void step(const char* name) {
    report_["step"] = name;
    tell_(report_);
  }

 private:
  json& report_;
  const std::function<void(const json&)>& tell_;
  uint64_t compared_ = 0;
  uint64_t differing_ = 0;
};

void compare(Side& ours, Side& theirs, const Candidate& candidate, std::span<const Bytes> packets,
             Findings& findings) {
  const SideProgram* our_program = ours.program(candidate.name);
  const SideProgram* their_program = theirs.program(candidate.name);
  if (our_program == nullptr || their_program == nullptr) return;
  fill_maps(ours, packets);
  fill_maps(theirs, packets);
  for (size_t i = 0; i < packets.size(); ++i) {
    const RunRequest request = request_for(packets[i], candidate.type);
    const std::string words =
        difference(ours.run(*our_program, request), theirs.run(*their_program, request));
    findings.compared();
    if (!words.empty()) findings.differs(fmt::format("packet {}: {}", i + 1, words));
  }
  findings.step("compare maps");
  for (const SideMap& map : theirs.maps()) {
    const SideMap* our_map = ours.map(map.name);
    if (our_map == nullptr || !has_comparable_values(map)) continue;
    if (ours.contents(*our_map) != theirs.contents(map)) {
      findings.differs(fmt::format("map {} holds something else after all packets", map.name));
    }
  }
}

}  // namespace

std::vector<Candidate> candidates(const std::string& path, bool guess, std::string& error) {
  std::vector<Candidate> found;
  teach_section_names();
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) {
    error = fmt::format("libbpf cannot open it: {}", std::strerror(errno));
    return found;
  }
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    const std::string section = bpf_program__section_name(program);
    bpf_prog_type type = bpf_program__type(program);
    if (type == BPF_PROG_TYPE_UNSPEC && guess) {
      type = section.starts_with("xdp") ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
    }
    if (type == BPF_PROG_TYPE_XDP || type == BPF_PROG_TYPE_SCHED_CLS ||
        type == BPF_PROG_TYPE_SCHED_ACT) {
      found.push_back({bpf_program__name(program), section, type});
    }
  }
  bpf_object__close(object);
  return found;
}

void try_program(const std::string& path, const Candidate& candidate,
                 std::span<const Candidate> all, std::span<const Bytes> packets,
                 const std::function<void(const json&)>& tell) {
  json report = {{"name", candidate.name},
                 {"section", candidate.section},
                 {"type", program_type_name(candidate.type)}};
  Findings findings(report, tell);
  teach_section_names();

  findings.step("load in Linux");
  std::vector<Candidate> chosen = {candidate};
  auto theirs = std::make_unique<Attempt>(nullptr);
  std::string refusal = theirs->load(path, chosen, candidate.name);
  if (theirs->uninitialised_slot()) {
    chosen.assign(all.begin(), all.end());
    theirs = std::make_unique<Attempt>(nullptr);
    refusal = theirs->load(path, chosen, candidate.name);
  }
  report["linux"] = refusal;
  const bool linux_takes_it = refusal.empty();
  if (linux_takes_it) {
    const Demands demands = demands_of(theirs->object(), theirs->program(), candidate.type);
    report["needs"] = demands.missing;
    report["varying"] = demands.varying;
  }

  findings.step("load");
  vm::Interpreter interpreter;
  Attempt ours(&interpreter);
  refusal = ours.load(path, chosen, candidate.name);
  report["xnic"] = refusal;
  if (linux_takes_it && refusal.empty()) {
    findings.step("run");
    compare(ours.side(), theirs->side(), candidate, packets, findings);
  }
  findings.step("done");
}

}  // namespace xnic::test
