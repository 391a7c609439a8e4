#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/attachment.h"
#include "sim/outcome.h"
#include "traces/output_file.h"
#include "traces/pcapng_writer.h"
#include "traces/player.h"
#include "vm/result.h"

namespace xnic::sim {

// Writes what became of each packet, in the order of the capture whatever order packets end in:
// DIR/verdicts.pcapng, each packet with its final bytes and its verdicts, and DIR/packets.ndjson,
// one line for every hook that a packet passed. What waits for an earlier packet is held in memory.
class Recorder : public OutcomeSink {
 public:
  // Makes the directory where it is missing. `entrances` are the interfaces at which packets come
  // in, each once.
  static Result<std::unique_ptr<Recorder>> create(const std::string& directory,
                                                  const Attachments& attachments,
                                                  const std::vector<uint32_t>& entrances);

  // Leaves nothing behind of a run that was not finished.
  ~Recorder() override;

  // Each frame before it is played; `timestamp_ns` is what verdicts.pcapng shows.
  void starts(const traces::Frame& frame, int64_t timestamp_ns);
  void done(const vm::Packet& packet, const Outcome& outcome) override;
  // Gives the first error of all that was written.
  Result<void> finish();
  // The first error so far, so that a long run can stop early.
  const std::optional<Error>& error() const { return error_; }
  std::vector<std::string> paths() const { return {verdicts_path_, packets_path_}; }

 private:
  struct Started {
    int64_t timestamp_ns;
    uint32_t length;
    uint32_t original_length;
  };
  struct Ended {
    std::vector<uint8_t> bytes;
    Outcome outcome;
  };

  Recorder(const std::string& directory, const Attachments& attachments,
           const std::vector<uint32_t>& entrances);
  void write(std::span<const uint8_t> bytes, const Outcome& outcome);
  std::string_view place_of(const HookEvent& event);
  std::string interface_name(uint32_t ifindex) const;
  void keep(const Result<void>& result);

  const Attachments& attachments_;
  std::vector<uint32_t> entrances_;
  std::string made_;  // the directory, if it was not there before
  std::string verdicts_path_;
  std::string packets_path_;
  std::unique_ptr<traces::PcapngWriter> verdicts_;
  std::unique_ptr<traces::OutputFile> packets_;
  std::optional<Error> error_;

  uint64_t next_id_ = 1;             // the first packet that has not been written
  std::deque<Started> started_;      // from next_id_ on
  std::map<uint64_t, Ended> ended_;  // that wait for an earlier one

  // What lines say of where a program ran.
  struct Place {
    const vm::Program* program;
    uint32_t ifindex;
    vm::HookPoint hook;
    std::string text;
  };
  std::deque<Place> places_;  // of lines so far
  fmt::memory_buffer lines_;  // of the packet that is written
  traces::Annotation annotation_;
};

}  // namespace xnic::sim
