#include "tests/verdicts/judge.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <array>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "vm/syscall.h"

namespace xnic::test {
namespace {

constexpr size_t kLogBytes = 1u << 20;
constexpr size_t kBytesOfStates = 512u << 20;
// Of log_level.
constexpr uint32_t kStatisticsOnly = 4;
constexpr uint32_t kStates = 2;

std::string& libbpf_words() {
  static std::string words;
  return words;
}

int keep_words(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 512> line{};
  std::vsnprintf(line.data(), line.size(), format, arguments);
  if (libbpf_words().size() < 4096) libbpf_words() += line.data();
  return 0;
}

// The lines of a log that say why: the last ones that are no statistics.
std::string reason_of(std::string_view log) {
  std::string reason;
  while (!log.empty()) {
    while (log.ends_with('\n')) log.remove_suffix(1);
    const size_t start = log.rfind('\n') + 1;
    const std::string_view line = log.substr(start);
    if (!line.starts_with("processed ") && !line.starts_with("verification time") &&
        !line.starts_with("stack depth")) {
      reason = std::string(line);
      break;
    }
    log = log.substr(0, start);
  }
  for (char& c : reason) {
    if (c == '\t' || c == '\n') c = ' ';
  }
  return reason;
}

// The number behind the last occurrence of `name` in a log.
uint64_t number_after(std::string_view log, std::string_view name) {
  const size_t found = log.rfind(name);
  uint64_t number = 0;
  if (found == std::string_view::npos) return number;
  const std::string_view text = log.substr(found + name.size());
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::optional<uint32_t> run_once(const bpf_program* program) {
  std::array<uint8_t, 64> data{};
  std::array<uint8_t, 256> out{};
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = data.data(), .data_out = out.data(),
              .data_size_in = data.size(), .data_size_out = out.size(), .repeat = 1);
  if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) return {};
  return options.retval;
}

// __retval(...) of the selftests: a declaration tag of the function.
std::optional<int32_t> expected_result(const btf* types, const char* function) {
  static constexpr std::string_view kTag = "comment:test_retval=";
  const int id = btf__find_by_name_kind(types, function, BTF_KIND_FUNC);
  for (uint32_t i = 1; id > 0 && i < btf__type_cnt(types); ++i) {
    const btf_type* tag = btf__type_by_id(types, i);
    if (!btf_is_decl_tag(tag) || tag->type != static_cast<uint32_t>(id)) continue;
    std::string_view text = btf__str_by_offset(types, tag->name_off);
    if (!text.starts_with(kTag)) continue;
    text.remove_prefix(kTag.size());
    char* end = nullptr;
    const std::string digits(text);
    const long number = std::strtol(digits.c_str(), &end, 0);
    if (end != digits.c_str() && *end == 0) return static_cast<int32_t>(number);
  }
  return {};
}

}  // namespace

void keep_libbpf_words() { libbpf_set_print(keep_words); }

std::vector<Listed> programs_of(const std::string& path) {
  std::vector<Listed> listed;
  bpf_object* object = bpf_object__open_file(path.c_str(), nullptr);
  if (object == nullptr) return listed;
  const btf* types = bpf_object__btf(object);
  bpf_program* program = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    const char* type = libbpf_bpf_prog_type_str(bpf_program__type(program));
    const char* name = bpf_program__name(program);
    listed.push_back({name, type == nullptr ? "?" : type,
                      types == nullptr ? std::nullopt : expected_result(types, name)});
  }
  bpf_object__close(object);
  return listed;
}

Answer judge(const Question& question, vm::Kernel* kernel) {
  std::optional<vm::KernelScope> scope;
  if (kernel != nullptr) scope.emplace(*kernel);
  static std::vector<char> log(question.log.empty() ? kLogBytes : kBytesOfStates);
  log[0] = 0;
  libbpf_words().clear();
  Answer answer;
  bpf_object* object = bpf_object__open_file(question.path.c_str(), nullptr);
  if (object == nullptr) {
    answer.reason = "cannot be opened";
    return answer;
  }
  size_t at = 0;
  bpf_program* program = nullptr;
  bpf_program* chosen = nullptr;
  while ((program = bpf_object__next_program(object, program)) != nullptr) {
    bpf_program__set_autoload(program, at == question.index);
    if (at == question.index) {
      chosen = program;
      bpf_program__set_log_buf(program, log.data(), log.size());
      bpf_program__set_log_level(program, question.log.empty() ? kStatisticsOnly : kStates);
    }
    ++at;
  }
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(object, map)) != nullptr) {
    bpf_map__set_pin_path(map, nullptr);
    // Programs that do not use a map that does not exist here can be judged without it.
    const bool exists = kernel == nullptr || vm::find_map_type(bpf_map__type(map)) != nullptr;
    if (!exists) bpf_map__set_autocreate(map, false);
  }
  answer.accepted = bpf_object__load(object) == 0;
  answer.judged = answer.accepted || log[0] != 0;
  answer.instructions = number_after(log.data(), "processed ");
  answer.states = number_after(log.data(), "total_states ");
  if (!answer.accepted) {
    answer.reason = reason_of(log[0] != 0 ? log.data() : libbpf_words());
  } else if (question.run) {
    answer.returns = run_once(chosen);
  }
  bpf_object__close(object);
  if (!question.log.empty()) std::ofstream(question.log) << log.data();
  return answer;
}

}  // namespace xnic::test
