// Each program is loaded alone, over maps of its own, once into the emulated kernel and, if that is
// asked for, once into the one of this machine, and taken out again. Left out: programs of types
// that do not exist here, on Linux too.
// Tests: tests/sim/verification_test.cpp, verify_command_test.cpp.
#include "sim/verification.h"

#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "sim/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"
#include "vm/kernel_face.h"
#include "vm/libbpf_words.h"
#include "vm/loader.h"
#include "vm/object_file.h"
#include "vm/syscall.h"

namespace xnic::sim {
namespace {

constexpr size_t kOwnLogBytes = 80u << 20;  // more than the verifier writes
constexpr size_t kLinuxLogBytes = 16u << 20;
constexpr uint32_t kLogPath = 1;  // bits of bpf(2)'s log_level
constexpr uint32_t kLogStates = 2;
constexpr uint32_t kLogStatistics = 4;
// libbpf writes a call of this number, and that of the map, where a map is not created.
constexpr uint32_t kMissingMap = 2'001'000'000;

// Of the kernel of this machine.
constexpr char kKernelTypes[] = "/sys/kernel/btf/vmlinux";

template <class Visit>
void for_each_program(bpf_object* object, Visit visit) {
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) visit(program);
}

// The file, and how it is opened on either side.
struct Source {
  const std::string& path;
  std::span<const uint8_t> bytes;
  const std::string& btf;
};

// An object of which one program is loaded.
class Trial {
 public:
  // Into the emulated kernel if there is one; it must be in scope then.
  static Result<Trial> open(const Source& source, vm::Kernel* kernel) {
    vm::ObjectFileOptions options{.btf_path = source.btf, .configuration = {}};
    if (kernel != nullptr) options.configuration = vm::kernel_configuration();
    auto file = vm::ObjectFile::open(source.path, source.bytes, options);
    if (!file) return tl::unexpected(file.error());
    Trial trial(std::move(*file));
    bpf_map* map = nullptr;
    while ((map = bpf_object__next_map(trial.object(), map)) != nullptr) {
      bpf_map__set_pin_path(map, nullptr);
      // A program that does not use the map can be judged without it.
      const bool exists = kernel == nullptr || vm::find_map_type(bpf_map__type(map)) != nullptr;
      if (!exists) bpf_map__set_autocreate(map, false);
    }
    return trial;
  }

  // 0 or -errno.
  int load(const std::string& name, char* log, size_t log_bytes, uint32_t log_level) {
    for_each_program(object(), [&](bpf_program* program) {
      const bool chosen = bpf_program__name(program) == name;
      bpf_program__set_autoload(program, chosen);
      if (!chosen || log == nullptr) return;
      log[0] = 0;
      bpf_program__set_log_buf(program, log, log_bytes);
      bpf_program__set_log_level(program, log_level);
    });
    vm::listen_to_libbpf();
    return bpf_object__load(object());
  }

  bpf_object* object() const { return file_.object(); }

  // "map ports is of type sockmap", of the map with this number.
  std::string name_map(uint32_t number) const {
    bpf_map* map = nullptr;
    while ((map = bpf_object__next_map(object(), map)) != nullptr) {
      if (number-- != 0) continue;
      const char* type = libbpf_bpf_map_type_str(bpf_map__type(map));
      return fmt::format("map {} is of type {}", bpf_map__name(map),
                         type == nullptr ? "unknown" : type);
    }
    return "a map is of a type";
  }

 private:
  explicit Trial(vm::ObjectFile file) : file_(std::move(file)) {}
  vm::ObjectFile file_;
};

// An emulated kernel for one object.
struct OwnKernel {
  explicit OwnKernel(bool follows_values, std::shared_ptr<const vm::Btf> types = nullptr)
      : kernel(engine, {.possible_cpus = real_possible_cpus(),
                        .types = std::move(types),
                        .verify_values = follows_values}) {}
  vm::Interpreter engine;
  vm::Kernel kernel;
};

Result<std::vector<ProgramVerdict>> list_programs(const Source& source) {
  OwnKernel own(false);
  const vm::KernelScope scope(own.kernel);
  const auto trial = Trial::open(source, &own.kernel);
  if (!trial) return tl::unexpected(trial.error());
  std::vector<ProgramVerdict> programs;
  for_each_program(trial->object(), [&](bpf_program* program) {
    ProgramVerdict& row = programs.emplace_back();
    row.name = bpf_program__name(program);
    row.section = bpf_program__section_name(program);
    const char* type = libbpf_bpf_prog_type_str(bpf_program__type(program));
    row.type = type == nullptr ? "unknown" : type;
    row.why = vm::why_not_loadable(program);
  });
  return programs;
}

// What the verifier said becomes the row's; a load that failed elsewhere leaves the program out.
// `types` are of a kernel that has more than ours; null: ours.
void judge(const Source& source, bool keep_log, std::shared_ptr<const vm::Btf> types,
           ProgramVerdict& row) {
  OwnKernel own(true, std::move(types));
  const vm::KernelScope scope(own.kernel);
  auto trial = Trial::open(source, &own.kernel);
  if (!trial) {
    row.why = trial.error().message;
    return;
  }
  // Without a log libbpf would load what is refused once more, to have one.
  const std::unique_ptr<char[]> log(new char[kOwnLogBytes]);
  const int error =
      trial->load(row.name, log.get(), kOwnLogBytes, keep_log ? kLogStates : kLogPath);
  const vm::Judgement* judgement = own.kernel.judgement_of(row.name);
  if (judgement == nullptr ||
      (error != 0 && !judgement->rejection && !vm::refused_program().empty())) {
    row.why = error == 0 ? "libbpf did not load it"
                         : fmt::format("it cannot be loaded: {}", vm::first_libbpf_words());
    return;
  }
  row.statistics = judgement->statistics;
  if (keep_log) row.log = judgement->log;
  row.verdict = judgement->rejection ? Verdict::rejected : Verdict::accepted;
  row.rejection = judgement->rejection;
  if (!row.rejection) return;
  const std::string_view said = row.rejection->said;
  constexpr std::string_view kUnknown = "invalid func unknown#";
  uint32_t number = 0;
  if (said.starts_with(kUnknown)) {
    std::from_chars(said.data() + kUnknown.size(), said.data() + said.size(), number);
  }
  if (number >= kMissingMap) {
    row.rejection->category = vm::Category::not_supported;
    row.rejection->reason =
        fmt::format("{}, which does not exist here", trial->name_map(number - kMissingMap));
    row.rejection->suggestion.clear();
  }
}

// Whether the program may need more of the kernel's types than the emulated one has.
bool needs_more_types(const ProgramVerdict& row) {
  return row.verdict == Verdict::left_out ||
         (row.rejection && row.rejection->category == vm::Category::not_supported);
}

uint64_t number_behind(std::string_view log, std::string_view key) {
  const size_t at = log.rfind(key);
  uint64_t number = 0;
  if (at != std::string_view::npos) {
    std::from_chars(log.data() + at + key.size(), log.data() + log.size(), number);
  }
  return number;
}

// The number of the last instruction that a log names, "12: (71) r0 = ...".
std::optional<uint32_t> last_instruction(std::string_view log) {
  std::optional<uint32_t> last;
  while (!log.empty()) {
    const size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    uint32_t number = 0;
    const auto [behind, error] = std::from_chars(line.data(), line.data() + line.size(), number);
    const std::string_view rest = line.substr(static_cast<size_t>(behind - line.data()));
    if (error == std::errc() && rest.starts_with(": (")) last = number;
    log.remove_prefix(std::min(end + 1, log.size()));
  }
  return last;
}

// Behind a jump whose state was printed already, the line goes on with what comes next: states of
// where it jumps to, or why the program is refused.
std::string_view behind_jump(std::string_view line) {
  constexpr std::string_view kJump = " goto pc";
  const size_t jump = line.find(kJump);
  if (jump == std::string_view::npos) return {};
  const size_t end = line.find_first_not_of("+-0123456789", jump + kJump.size());
  if (end == std::string_view::npos) return {};
  const size_t text = line.find_first_not_of(' ', end);
  if (text == std::string_view::npos) return {};
  const std::string_view more = line.substr(text);
  const bool is_state = more.front() == ';' || (more.front() >= '0' && more.front() <= '9');
  return is_state ? std::string_view() : more;
}

LinuxVerdict ask_linux(const Source& source, const std::string& name) {
  LinuxVerdict verdict;
  auto trial = Trial::open(source, nullptr);
  if (!trial) {
    verdict.words = trial.error().message;
    return verdict;
  }
  const std::unique_ptr<char[]> log(new char[kLinuxLogBytes]);
  const int error = trial->load(name, log.get(), kLinuxLogBytes, kLogPath | kLogStatistics);
  const std::string_view said = log.get();
  verdict.judged = error == 0 || !said.empty();
  verdict.accepted = error == 0;
  verdict.instructions = number_behind(said, "processed ");
  verdict.microseconds = number_behind(said, "verification time ");
  if (error == 0) return verdict;
  if (!verdict.judged) {
    verdict.words = vm::first_libbpf_words();
    return verdict;
  }
  verdict.words = reason_in_log(said);
  verdict.category = vm::category_of(verdict.words);
  verdict.instruction = last_instruction(said);
  return verdict;
}

}  // namespace

std::optional<bool> ProgramVerdict::agrees() const {
  if (verdict == Verdict::left_out || !linux_says || !linux_says->judged) return {};
  return linux_says->accepted == (verdict == Verdict::accepted);
}

std::string reason_in_log(std::string_view log) {
  constexpr std::string_view kNoise[] = {"processed ",    "verification time", "stack depth",
                                         "mark_precise:", "parent state",      "from ",
                                         "Validating ",   "R1 type=ctx"};
  std::vector<std::string_view> lines;
  while (!log.empty()) {
    const size_t end = std::min(log.find('\n'), log.size());
    const std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    const bool is_instruction = line.find(": ") != std::string_view::npos && !line.empty() &&
                                line.front() >= '0' && line.front() <= '9';
    const bool is_noise = line.empty() || line.front() == ';' ||
                          std::ranges::any_of(kNoise, [line](std::string_view noise) {
                            return line.starts_with(noise);
                          });
    if (is_instruction) {
      lines.clear();
      if (const auto more = behind_jump(line); !more.empty()) lines.push_back(more);
    } else if (!is_noise) {
      lines.push_back(line);
    }
  }
  return fmt::format("{}", fmt::join(lines, "\n"));
}

Result<std::vector<ProgramVerdict>> verify_object(const std::string& path,
                                                  const VerificationOptions& options) {
  const auto bytes = vm::ObjectFile::read(path);
  if (!bytes) return tl::unexpected(bytes.error());
  const Source source{path, *bytes, options.btf};
  const auto try_all = [&] {
    const auto programs = list_programs(source);
    for (size_t i = 0; programs && i < programs->size(); ++i) {
      OwnKernel own(false);
      const vm::KernelScope scope(own.kernel);
      if (auto trial = Trial::open(source, &own.kernel)) {
        static_cast<void>(trial->load((*programs)[i].name, nullptr, 0, 0));
      }
    }
  };
  if (auto survived = vm::libbpf_survives(path, try_all); !survived) {
    return tl::unexpected(survived.error());
  }
  auto programs = list_programs(source);
  if (!programs) return programs;
  if (programs->empty()) return fail(ExitCode::bad_input, "{}: holds no BPF program", path);
  if (!options.program.empty()) {
    std::erase_if(*programs, [&](const ProgramVerdict& p) { return p.name != options.program; });
    if (programs->empty()) {
      return fail(ExitCode::usage, "{}: has no program {}; xnic prog lists them", path,
                  options.program);
    }
  }
  if (options.against_linux) {
    if (const std::string why = why_no_real_kernel(); !why.empty()) {
      return fail(ExitCode::not_available, "{}", why);
    }
  }
  std::shared_ptr<const vm::Btf> types;
  const std::string types_path = options.btf.empty() ? kKernelTypes : options.btf;
  for (ProgramVerdict& row : *programs) {
    if (!row.why.empty()) continue;
    judge(source, options.log, nullptr, row);
    if (needs_more_types(row)) {
      if (types == nullptr) types = vm::read_kernel_types(types_path);
      if (types != nullptr) {
        row.why.clear();
        row.rejection.reset();
        row.verdict = Verdict::left_out;
        judge(source, options.log, types, row);
      }
    }
    if (options.against_linux) row.linux_says = ask_linux(source, row.name);
  }
  return programs;
}

Json to_json(const vm::CodePlace& place) {
  Json json;
  json["instruction"] = place.instruction;
  json["disassembly"] = place.disassembly;
  json["file"] = place.has_line() ? Json(place.file) : Json(nullptr);
  json["line"] = place.has_line() ? Json(place.line) : Json(nullptr);
  json["column"] = place.column != 0 ? Json(place.column) : Json(nullptr);
  json["text"] = place.has_line() ? Json(place.text) : Json(nullptr);
  return json;
}

Json to_json(const vm::Rejection& rejection) {
  Json json;
  json["category"] = vm::row_of(rejection.category).name;
  json["errno"] = -rejection.error;
  json["place"] = rejection.place ? to_json(*rejection.place) : Json(nullptr);
  json["reason"] = rejection.reason;
  json["linux_words"] = rejection.said;
  json["path"] = Json::array();
  for (const vm::PathStep& step : rejection.path) {
    constexpr std::string_view kWays[] = {"jumps", "goes_on", "calls"};
    json["path"].push_back({{"at", to_json(step.at)},
                            {"way", kWays[static_cast<size_t>(step.way)]},
                            {"to", to_json(step.to)},
                            {"times", step.times}});
  }
  json["suggestion"] = rejection.suggestion.empty() ? Json(nullptr) : Json(rejection.suggestion);
  return json;
}

Json to_json(const ProgramVerdict& program) {
  constexpr std::string_view kVerdicts[] = {"accepted", "rejected", "left_out"};
  Json json;
  json["name"] = program.name;
  json["section"] = program.section;
  json["type"] = program.type;
  json["verdict"] = kVerdicts[static_cast<size_t>(program.verdict)];
  if (program.verdict == Verdict::left_out) {
    json["why"] = program.why;
  } else {
    json["statistics"] = {{"instructions", program.statistics.instructions},
                          {"states", program.statistics.states},
                          {"peak_states", program.statistics.peak_states},
                          {"nanoseconds", program.statistics.time.count()}};
  }
  if (program.rejection) json["rejection"] = to_json(*program.rejection);
  if (!program.log.empty()) json["log"] = program.log;
  if (!program.linux_says) return json;
  const LinuxVerdict& other = *program.linux_says;
  Json& says = json["linux"];
  says["verdict"] = !other.judged ? "not_judged" : other.accepted ? "accepted" : "rejected";
  if (!other.accepted) says["words"] = other.words;
  if (other.judged && !other.accepted) {
    says["category"] = vm::row_of(other.category).name;
    says["instruction"] = other.instruction ? Json(*other.instruction) : Json(nullptr);
  }
  if (other.judged) {
    says["statistics"] = {{"instructions", other.instructions},
                          {"nanoseconds", other.microseconds * 1000}};
  }
  const auto agrees = program.agrees();
  json["agrees"] = agrees ? Json(*agrees) : Json(nullptr);
  return json;
}

}  // namespace xnic::sim
