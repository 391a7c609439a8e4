#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

namespace xnic::vm::verifier {

// Why a program is refused: -errno as BPF_PROG_LOAD answers it, and the reason in words.
struct Refusal {
  int error;
  std::string words;
};
// Nothing where there is nothing to object to.
using Verdict = std::optional<Refusal>;

template <class... Args>
Verdict refuse(int error, fmt::format_string<Args...> text, Args&&... args) {
  return Refusal{-error, fmt::format(text, std::forward<Args>(args)...)};
}

// The verifier's own account of its work, in the levels of bpf(2)'s log_level: 1 the path that led
// to a refusal, 2 the state at every instruction, 4 the statistics.
class Log {
 public:
  explicit Log(uint32_t level) : level_(level) {}

  bool tells_anything() const { return level_ != 0; }
  bool tells_states() const { return (level_ & 2) != 0; }
  bool tells_statistics() const { return (level_ & 4) != 0; }

  template <class... Args>
  void line(fmt::format_string<Args...> text, Args&&... args) {
    if (text_.size() > kMost) return;
    fmt::format_to(std::back_inserter(text_), text, std::forward<Args>(args)...);
    text_ += '\n';
  }
  std::string take() { return std::move(text_); }

 private:
  static constexpr size_t kMost = 64u << 20;  // bytes; no reader wants more

  uint32_t level_;
  std::string text_;
};

}  // namespace xnic::vm::verifier
