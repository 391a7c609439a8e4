#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "traces/output_file.h"
#include "vm/result.h"

namespace xnic::traces {

// Writes a plain pcap file of nanoseconds with link type Ethernet, in the host's byte order. The
// file appears under its name on finish().
class PcapWriter {
 public:
  static Result<std::unique_ptr<PcapWriter>> create(const std::string& path);

  // `timestamp_ns` since 1970; seconds outside 0 to 2^32 - 1 (the year 2106) are clamped, as the
  // format holds no others.
  Result<void> write(int64_t timestamp_ns, std::span<const uint8_t> bytes,
                     uint32_t original_length);
  Result<void> finish() { return file_->finish(); }

 private:
  explicit PcapWriter(std::unique_ptr<OutputFile> file) : file_(std::move(file)) {}

  std::unique_ptr<OutputFile> file_;
};

}  // namespace xnic::traces
