#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "traces/output_file.h"
#include "vm/result.h"

namespace xnic::traces {

// What a program decided, as epb_verdict carries it.
struct Verdict {
  enum Kind : uint8_t { hardware = 0, tc = 1, xdp = 2 };  // the option's first octet
  Kind kind = xdp;
  uint64_t value = 0;  // the code: XDP_DROP is 1
};

// What is known of a packet besides its bytes.
struct Annotation {
  uint64_t packet_id = 0;
  uint32_t queue = 0;
  std::vector<Verdict> verdicts;  // in the order in which they fell
  std::string comment;            // UTF-8; none if empty; cut at 65,535 bytes
  uint32_t interface = 0;         // of those that the file describes
};

// Writes a pcapng file (draft-ietf-opsawg-pcapng) with one section, Ethernet interfaces of
// nanoseconds, and one enhanced packet block a packet. The file appears under its name on finish().
class PcapngWriter {
 public:
  // `application` goes to shb_userappl ("xnic 0.1.0"), `interfaces` (at least one) to if_name.
  static Result<std::unique_ptr<PcapngWriter>> create(const std::string& path,
                                                      const std::string& application,
                                                      const std::vector<std::string>& interfaces = {
                                                          "nic0"});

  // `timestamp_ns` since 1970, not negative; `original_length` at least bytes.size().
  Result<void> write(int64_t timestamp_ns, std::span<const uint8_t> bytes, uint32_t original_length,
                     const Annotation& annotation);
  Result<void> finish() { return file_->finish(); }

 private:
  explicit PcapngWriter(std::unique_ptr<OutputFile> file) : file_(std::move(file)) {}
  Result<void> write_header(const std::string& application,
                            const std::vector<std::string>& interfaces);

  std::unique_ptr<OutputFile> file_;
  std::vector<uint8_t> block_;  // kept for its capacity
};

}  // namespace xnic::traces
