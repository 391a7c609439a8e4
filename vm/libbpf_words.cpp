// Test: tests/vm/loader_test.cpp.
#include "vm/libbpf_words.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

namespace xnic::vm {
namespace {

thread_local std::string words;

int keep(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  std::array<char, 4096> line{};
  // NOLINTNEXTLINE(clang-diagnostic-format-nonliteral): libbpf's own format
  const int length = std::vsnprintf(line.data(), line.size(), format, arguments);
  std::string_view said = line.data();
  constexpr std::string_view kPrefix = "libbpf: ";
  if (said.starts_with(kPrefix)) said.remove_prefix(kPrefix.size());
  // Said of every object where the limit of locked memory is low, whatever fails.
  if (!said.starts_with("Failed to bump RLIMIT_MEMLOCK")) words += said;
  return length;
}

// What libbpf says on its way to another try, or of what it leaves out.
bool is_notice(std::string_view line) {
  constexpr std::array<std::string_view, 4> kNotices = {
      "Retrying without BTF", "skipping", "kernel doesn't support", "Kernel doesn't support"};
  return std::ranges::any_of(kNotices, [&](std::string_view notice) {
    return line.find(notice) != std::string_view::npos;
  });
}

}  // namespace

void listen_to_libbpf() {
  words.clear();
  libbpf_set_print(keep);
}

const std::string& libbpf_words() { return words; }

// libbpf says: "prog 'NAME': BPF program load failed: ...".
std::string refused_program() {
  const size_t what = words.find("': BPF program load failed");
  if (what == std::string::npos) return {};
  const size_t quote = words.rfind('\'', what - 1);
  return quote == std::string::npos ? "" : words.substr(quote + 1, what - quote - 1);
}

std::string first_libbpf_words() {
  std::string_view rest = words;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    if (!line.empty() && !is_notice(line)) return std::string(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "libbpf says nothing more";
}

std::string last_libbpf_words() {
  constexpr size_t kShown = 1500;
  std::string shown = words;
  while (shown.ends_with('\n')) shown.pop_back();
  if (shown.size() <= kShown) return shown;
  const size_t line = shown.find('\n', shown.size() - kShown);
  return line == std::string::npos ? shown.substr(shown.size() - kShown) : shown.substr(line + 1);
}

}  // namespace xnic::vm
