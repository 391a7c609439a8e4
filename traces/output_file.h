#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "vm/result.h"

namespace xnic::traces {

// A file that appears whole or not at all: bytes go to PATH.tmp, which finish() renames to PATH.
// Without finish(), or after an error, nothing is left behind. Errors, each with a sentence that
// names the file: bad_input where it cannot be created, run_time_fault where writing fails.
class OutputFile {
 public:
  static Result<std::unique_ptr<OutputFile>> create(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // Buffered. After an error, every further call gives it again.
  Result<void> write(std::span<const uint8_t> bytes);
  // Writes what is buffered, closes and renames. At most once.
  Result<void> finish();

 private:
  OutputFile(std::string path, std::string temporary, int fd);
  Result<void> flush();
  tl::unexpected<Error> failed(int error);

  std::string path_;
  std::string temporary_;
  int fd_;
  std::vector<uint8_t> buffer_;
  std::string failure_;  // the sentence of the first error
};

}  // namespace xnic::traces
