#pragma once

#include <unistd.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace xnic::bench {

inline constexpr std::array<uint32_t, 1> kSmallFrames = {64};
// The simple Internet mix: seven small, four middle, one large.
inline constexpr std::array<uint32_t, 12> kMixedFrames = {64, 594, 64, 64,  594, 64,
                                                          64, 594, 64, 594, 64,  1518};

// A plain pcap capture of so many frames, which goes with the process.
class CaptureFile {
 public:
  // The lengths in turn, in bytes; `frame` makes number i of a length.
  template <class Frame>
  CaptureFile(uint32_t count, std::span<const uint32_t> lengths, Frame frame) {
    path_ = std::filesystem::temp_directory_path() /
            ("xnic-bench-" + std::to_string(::getpid()) + "-" + std::to_string(lengths.size()));
    std::ofstream file(path_, std::ios::binary);
    const auto put = [&](const auto& value) {
      file.write(reinterpret_cast<const char*>(&value), sizeof value);
    };
    put(std::array<uint32_t, 6>{0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65'535, 1});
    for (uint32_t i = 0; i < count; ++i) {
      const std::vector<uint8_t> bytes = frame(i, lengths[i % lengths.size()]);
      const auto size = static_cast<uint32_t>(bytes.size());
      put(std::array<uint32_t, 4>{1'000'000'000, i % 1'000'000, size, size});
      file.write(reinterpret_cast<const char*>(bytes.data()), size);
    }
  }
  ~CaptureFile() { std::filesystem::remove(path_); }
  CaptureFile(const CaptureFile&) = delete;
  CaptureFile& operator=(const CaptureFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace xnic::bench
