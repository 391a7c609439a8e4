// Test: tests/sim/line_control_test.cpp.
#include "sim/control.h"

#include <algorithm>

#include "sim/json.h"
#include "sim/listener.h"

namespace xnic::sim {

Result<std::string> take_control_option(std::vector<std::string>& words) {
  constexpr std::string_view kOption = "--control";
  const auto found = std::ranges::find_if(words, [&](const std::string& word) {
    return word == kOption || word.starts_with(std::string(kOption) + "=");
  });
  if (found == words.end()) return std::string();
  std::string path;
  if (*found != kOption) {
    path = found->substr(kOption.size() + 1);
    words.erase(found);
  } else if (found + 1 != words.end()) {
    path = *(found + 1);
    words.erase(found, found + 2);
  }
  if (path.empty()) {
    return fail(ExitCode::usage, "--control needs the PATH that xnic line was given");
  }
  return path;
}

Result<std::string> ask_control(const std::string& path, const std::vector<std::string>& words) {
  const auto text =
      ask(path, Json(words).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  if (!text) return tl::unexpected(text.error());
  const Json answer = Json::parse(*text, nullptr, false);
  if (!answer.is_object() || !answer.contains("exit")) {
    return fail(ExitCode::bad_input, "--control {}: whoever listens there is no xnic line", path);
  }
  const auto code = static_cast<ExitCode>(answer.value("exit", 0));
  std::string said = answer.value("said", "");
  if (code == ExitCode::done) return said;
  return tl::unexpected(Error{code, std::move(said)});
}

std::vector<std::string> words_of_request(const std::string& request) {
  const Json words = Json::parse(request, nullptr, false);
  std::vector<std::string> read;
  if (!words.is_array()) return read;
  for (const Json& word : words) {
    if (word.is_string()) read.push_back(word.get<std::string>());
  }
  return read;
}

std::string answer_of(const Result<std::string>& said) {
  const ExitCode code = said ? ExitCode::done : said.error().code;
  return Json{{"exit", static_cast<int>(code)}, {"said", said ? *said : said.error().message}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace xnic::sim
