#include "sim/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace xnic::sim {
namespace {
constexpr auto kInterval = std::chrono::milliseconds(100);
constexpr uint64_t kRecordHeader = 16;  // bytes before each packet of a pcap file
constexpr size_t kWidth = 30;
}  // namespace

Progress::Progress(const std::string& capture, bool visible)
    : visible_(visible), next_(std::chrono::steady_clock::now() + kInterval) {
  std::error_code error;
  const auto size = std::filesystem::file_size(capture, error);
  if (!error) size_ = size;
}

void Progress::draw(uint64_t bytes) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  drawn_ = true;
  if (size_ == 0) {
    fmt::print(stderr, "\r{} packets", packets_);
    return;
  }
  const uint64_t read = std::min(bytes + packets_ * kRecordHeader, size_);
  const size_t filled = kWidth * read / size_;
  fmt::print(stderr, "\r[{:<{}}] {:3}% {} packets", std::string(filled, '#'), kWidth,
             100 * read / size_, packets_);
}

void Progress::end() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
}

}  // namespace xnic::sim
