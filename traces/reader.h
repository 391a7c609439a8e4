#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "vm/result.h"

namespace xnic::traces {

// Longest record that is read, in bytes: libpcap's own limit for Ethernet.
inline constexpr uint32_t kMaxRecordLength = 262'144;

struct ReaderOptions {
  bool strict = false;  // a truncated capture is an error, not a warning
};

// One packet of a capture.
struct Record {
  uint64_t number = 0;       // its place in the file, from 1, also with a filter
  int64_t timestamp_ns = 0;  // since 1970; saturated where 64 bits do not hold it
  // As captured: may be empty or shorter than an Ethernet header. Valid until the next call.
  std::span<const uint8_t> bytes;
  uint32_t original_length = 0;  // on the wire; never less than bytes.size()
};

// Reads Ethernet captures: pcap and pcapng of micro- or nanoseconds in both byte orders, as
// libpcap knows them. Every error is a sentence that names the file; ExitCode::bad_input, or usage
// for a bad filter.
class Reader {
 public:
  // `path` is a file, or "-" for standard input. `filter` is a tcpdump filter, empty for none.
  // Refuses captures whose link type is not Ethernet, by the type's name.
  static Result<std::unique_ptr<Reader>> open(const std::string& path, const std::string& filter,
                                              const ReaderOptions& options = {});
  virtual ~Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // True with the next record that passes the filter, false at the end. A capture that is cut off
  // ends at the cut with a warning. After false or an error, it stays so.
  virtual Result<bool> next(Record& record) = 0;

  const std::string& path() const { return path_; }
  // Of the records given so far.
  uint64_t packets() const { return packets_; }
  uint64_t bytes() const { return bytes_; }
  // How many of them were captured shorter than they were on the wire.
  uint64_t snapped() const { return snapped_; }
  // Set at the end of a truncated capture: names the file and the offsets of the cut.
  const std::optional<std::string>& warning() const { return warning_; }

 protected:
  explicit Reader(std::string path) : path_(std::move(path)) {}

  std::string path_;
  uint64_t packets_ = 0;
  uint64_t bytes_ = 0;
  uint64_t snapped_ = 0;
  std::optional<std::string> warning_;
};

}  // namespace xnic::traces
