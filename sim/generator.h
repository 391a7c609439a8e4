#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nic/port.h"
#include "sim/latencies.h"
#include "traces/player.h"
#include "vm/result.h"

namespace xnic::sim {

// Frames to be sent again and again, in this order, each without its FCS.
using Traffic = std::vector<std::vector<uint8_t>>;

// What `--generate` names: a capture, `imix` (7 frames of 64 bytes, 4 of 594 and 1 of 1518, FCS
// counted), or one length from 64 to 1518. Generated frames are IPv4/UDP of 256 flows from
// `source`. Errors: usage for a length out of range; the reader's; bad_input for a capture without
// a frame, or with one longer than a port takes.
Result<Traffic> make_traffic(const std::string& what, const vm::MacAddress& source);

// Every frame that has room for it ends with a tag: "xn", 6 bytes of sequence number and 8 of the
// time at which it was sent, little endian. It overwrites payload, and checksums of what a capture
// held are wrong then.
struct FrameTag {
  static constexpr size_t kBytes = 16;
  static constexpr size_t kShortest = 58;  // of a frame: headers of IPv4 and UDP are left alone

  uint64_t sequence;
  uint64_t sent;  // cycles; 0 where not measured
};
void put_tag(std::span<uint8_t> frame, const FrameTag& tag);
std::optional<FrameTag> tag_of(std::span<const uint8_t> frame);

struct TrialOptions {
  // Frames a second of this traffic; none: as fast as the port takes them.
  std::optional<double> rate{};
  uint64_t duration_ns = 1'000'000'000;
  uint64_t frames = UINT64_MAX;  // at most so many
  bool timestamps = true;        // frames tell when they were sent
  // Sees each frame that came back; may be empty.
  std::function<void(std::span<const uint8_t>)> received{};
};

struct TrialResult {
  uint64_t sent = 0;
  uint64_t received = 0;    // tagged ones once each, and untagged ones
  uint64_t reordered = 0;   // came after one that was sent later
  uint64_t duplicated = 0;  // came once more
  uint64_t strange = 0;     // not of this trial
  double seconds = 0;       // of sending
  LatencySummary latency;   // from when a frame was handed to the port until it was taken back

  uint64_t lost() const { return sent > received ? sent - received : 0; }
  double loss() const {
    return sent == 0 ? 0 : static_cast<double>(lost()) / static_cast<double>(sent);
  }
  double sent_per_second() const { return seconds > 0 ? static_cast<double>(sent) / seconds : 0; }
};

// Sends traffic out of one port at an exact pace and takes it back at another, which may be the
// same, by the calling thread, which is the only one that uses them. Ports and traffic must outlive
// it.
class Generator {
 public:
  Generator(nic::Port& tx, nic::Port& rx, const Traffic& traffic)
      : tx_(tx), rx_(rx), traffic_(traffic) {}

  // Ends when the frames are sent and no more come back. `stop` ends it early.
  TrialResult run(const TrialOptions& options, const std::atomic<bool>& stop);
  // Mean bits of a frame on the wire, with preamble, FCS and gap.
  double wire_bits() const;

 private:
  class Seen;

  size_t send(const TrialOptions& options, size_t count, uint64_t now);
  size_t receive(const TrialOptions& options, Seen& seen, TrialResult& result, Latencies& latencies,
                 double picoseconds_a_cycle);

  nic::Port& tx_;
  nic::Port& rx_;
  const Traffic& traffic_;
  uint64_t next_ = 0;   // sequence number, counted on over trials
  uint64_t first_ = 0;  // of the trial
};

// The frames a second that a rate means for this traffic on a link; none for a percentage of a link
// whose speed is not known.
std::optional<double> frames_per_second(const traces::Rate& rate, double wire_bits, uint32_t mbps);

}  // namespace xnic::sim
