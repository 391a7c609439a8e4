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
  uint32_t source = 0;           // of several captures that are read as one, which: from 0
};

// Reads Ethernet captures: pcap and pcapng of micro- or nanoseconds in both byte orders, as
// libpcap knows them. Plain pcap files without a filter take a faster way (traces/pcap_file.h) to
// the same records. Every error is a sentence that names the file; ExitCode::bad_input, or usage
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

  // The same for as many records as are at hand at once, at most `records` holds and at least one,
  // all valid until the next call; 0 at the end.
  virtual Result<size_t> next_burst(std::span<Record> records);

  const std::string& path() const { return path_; }
  // The path as sentences name it.
  std::string name() const { return path_ == "-" ? "standard input" : path_; }
  // Of the records given so far.
  uint64_t packets() const { return packets_; }
  uint64_t bytes() const { return bytes_; }
  // How many of them were captured shorter than they were on the wire.
  uint64_t snapped() const { return snapped_; }
  // Set at the end of a truncated capture: names the file and the offsets of the cut.
  const std::optional<std::string>& warning() const { return warning_; }

 protected:
  Reader(std::string path, const ReaderOptions& options)
      : path_(std::move(path)), strict_(options.strict) {}

  // The end of a capture that stops within a record, at byte `size`: a warning and false, or an
  // error if that is asked for.
  Result<bool> cut_off_at(uint64_t size);
  tl::unexpected<Error> unreadable_record(std::string_view reason) const;
  tl::unexpected<Error> failed_read(int error) const;

  std::string path_;
  bool strict_;
  uint64_t records_ = 0;     // read, whether they passed the filter or not
  uint64_t record_end_ = 0;  // offset past the last whole record, or past the file's header
  uint64_t packets_ = 0;
  uint64_t bytes_ = 0;
  uint64_t snapped_ = 0;
  std::optional<std::string> warning_;
};

}  // namespace xnic::traces
