#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace xnic::sim {

// A progress bar on stderr while a capture is replayed; nothing where stderr is no terminal.
class Progress {
 public:
  // Of a file the bar shows the share read; of standard input only the count.
  Progress(const std::string& capture, bool visible);
  // After so many packets more; `bytes` of the capture have been read so far.
  void step(uint64_t packets, uint64_t bytes) {
    const uint64_t before = packets_;
    packets_ += packets;
    if (visible_ && before / kStride != packets_ / kStride) draw(bytes);
  }
  // Clears the line.
  void end();

 private:
  static constexpr uint64_t kStride = 1024;
  void draw(uint64_t bytes);

  bool visible_;
  bool drawn_ = false;
  uint64_t packets_ = 0;
  uint64_t size_ = 0;  // of the file in bytes, 0 if unknown
  std::chrono::steady_clock::time_point next_;
};

}  // namespace xnic::sim
