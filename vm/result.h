#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace xnic {

// What went wrong, as the user's exit code sees it.
enum class ExitCode : int {
  done = 0,
  expectation_failed = 1,
  usage = 2,
  program_rejected = 3,
  bad_input = 4,
  run_time_fault = 5,
  not_available = 77,
};

// One whole sentence that names the file, instruction, packet or field, and what to do.
struct Error {
  ExitCode code = ExitCode::bad_input;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

template <class... Args>
tl::unexpected<Error> fail(ExitCode code, fmt::format_string<Args...> text, Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(text, std::forward<Args>(args)...)});
}

}  // namespace xnic
