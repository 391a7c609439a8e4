// See the header. Leaves out fsync: a crash of the machine may lose the file, not the program's.
// Test: tests/traces/pcapng_writer_test.cpp.
#include "traces/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace xnic::traces {
namespace {

constexpr size_t kBufferSize = 1 << 20;

}  // namespace

Result<std::unique_ptr<OutputFile>> OutputFile::create(const std::string& path) {
  std::string temporary = path + ".tmp";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return fail(ExitCode::bad_input, "Cannot create {}: {}.", temporary, std::strerror(errno));
  }
  return std::unique_ptr<OutputFile>(new OutputFile(path, std::move(temporary), fd));
}

OutputFile::OutputFile(std::string path, std::string temporary, int fd)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {
  buffer_.reserve(kBufferSize);
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
}

Result<void> OutputFile::write(std::span<const uint8_t> bytes) {
  if (!failure_.empty()) return tl::unexpected<Error>(Error{ExitCode::run_time_fault, failure_});
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return buffer_.size() < kBufferSize ? Result<void>() : flush();
}

Result<void> OutputFile::finish() {
  if (auto flushed = flush(); !flushed) return flushed;
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary_.c_str());
    return failed(error);
  }
  return {};
}

Result<void> OutputFile::flush() {
  if (!failure_.empty()) return tl::unexpected<Error>(Error{ExitCode::run_time_fault, failure_});
  size_t written = 0;
  while (written < buffer_.size()) {
    const ssize_t count = ::write(fd_, buffer_.data() + written, buffer_.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed(errno);
    written += static_cast<size_t>(count);
  }
  buffer_.clear();
  return {};
}

tl::unexpected<Error> OutputFile::failed(int error) {
  failure_ = fmt::format("Cannot write {}: {}.", path_, std::strerror(error));
  return tl::unexpected<Error>(Error{ExitCode::run_time_fault, failure_});
}

}  // namespace xnic::traces
