#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>

namespace xnic::test {

// A file of this process that holds some bytes, for readers that take a path.
class FileOfBytes {
 public:
  FileOfBytes(const std::string& suffix, std::span<const uint8_t> bytes)
      : path_(std::filesystem::temp_directory_path() /
              ("xnic-fuzz-" + std::to_string(getpid()) + suffix)) {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }
  ~FileOfBytes() { std::filesystem::remove(path_); }
  FileOfBytes(const FileOfBytes&) = delete;
  FileOfBytes& operator=(const FileOfBytes&) = delete;

  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace xnic::test
