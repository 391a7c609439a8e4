#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "traces/clock.h"
#include "traces/reader.h"
#include "vm/result.h"

namespace xnic::traces {

// Bits that a frame of so many bytes (without FCS) takes on the wire: padded to 60 bytes, then 4 of
// FCS, 8 of preamble and 12 of gap (IEEE 802.3).
uint64_t wire_bits(size_t bytes);

// How fast packets are sent, in place of the capture's own pace.
struct Rate {
  enum Unit : uint8_t {
    bits_per_second,  // on the wire, see wire_bits(): 10 Gb/s is 14.88 Mpps of 60-byte frames
    packets_per_second,
    percent,  // of the link
  };
  double value = 0;
  Unit unit = bits_per_second;
};

// "10Gbps", "14.88Mpps", "100%"; prefixes k, M, G, T in either case. Error: usage.
Result<Rate> parse_rate(std::string_view text);

struct PlayerOptions {
  uint64_t max_gap_ns = 1'000'000'000;  // a longer idle gap is shortened to this
  uint64_t loops = 1;                   // how often the capture is played, at least 1
  std::optional<Rate> rate = {};        // none: the capture's timestamps
  double link_gbps = 100;               // above 0
  uint64_t memory_bytes = UINT64_MAX;   // that more than one loop may take
};

// A packet on its way to the port.
struct Frame {
  uint64_t id = 0;                 // from 1, counted on over the loops
  uint64_t time_ps = 0;            // simulated; 0 for the first, never decreasing, below kEndOfTime
  std::span<const uint8_t> bytes;  // valid until the next call
  uint32_t original_length = 0;
  int64_t timestamp_ns = 0;  // as captured
  uint32_t source = 0;       // Record::source
};

// Puts the records of a capture on the simulated clock. Time is 0 at the first packet. A timestamp
// that goes back counts as equal to the one before. A repetition starts one wire gap (the last
// frame's time on the wire) after the last packet. With a rate, times come from the rate alone:
// each is computed from the start in integers, so rounding does not add up.
class Player {
 public:
  // The reader must outlive the player. More than one loop keeps the frames in memory.
  Player(Reader& reader, const PlayerOptions& options);

  // True with the next frame, false at the end. Errors: the reader's, and bad_input for a run that
  // is too long for the clock (kEndOfTime) or for PlayerOptions::memory_bytes.
  Result<bool> next(Frame& frame);
  // The same for as many frames as are at hand, at most `frames` holds and at least one, all valid
  // until the next call; 0 at the end.
  Result<size_t> next_burst(std::span<Frame> frames);

  // Of the capture, however often it is played.
  uint64_t backwards() const { return backwards_; }
  uint64_t shortened_gaps() const { return shortened_gaps_; }

 private:
  using Wide __attribute__((mode(TI))) = unsigned int;  // 128 bits

  // Time that grows with what was sent, exactly: units times so much, divided once and then added
  // up with remainders.
  class RateTime {
   public:
    // `rate`: units in 10^18 picoseconds, above 0.
    explicit RateTime(uint64_t rate = 1) : rate_(rate) {}
    Wide now() const { return quotient_; }
    void add(uint64_t units) {
      if (units != last_units_) divide(units);
      quotient_ += last_quotient_;
      // The sum of both remainders may not fit in 64 bits.
      if (remainder_ >= rate_ - last_remainder_) {
        remainder_ -= rate_ - last_remainder_;
        ++quotient_;
      } else {
        remainder_ += last_remainder_;
      }
    }

   private:
    void divide(uint64_t units);

    uint64_t rate_;
    Wide quotient_ = 0;
    uint64_t remainder_ = 0;
    // What one addition of `last_units_` is.
    uint64_t last_units_ = 0;
    Wide last_quotient_ = 0;
    uint64_t last_remainder_ = 0;
  };

  struct Stored {
    Wide offset_ps;  // from the start of its loop
    size_t begin;    // in memory_
    size_t size;
    uint32_t original_length;
    int64_t timestamp_ns;
    uint32_t source;
  };

  Result<size_t> read(std::span<Frame> frames);
  size_t repeat(std::span<Frame> frames);
  Wide capture_time(const Record& record);
  Result<void> store(const Record& record, Wide offset_ps);
  bool send(Frame& frame, Wide offset_ps);
  Error too_late() const;
  void start_loop();

  Reader& reader_;
  PlayerOptions options_;
  bool by_packets_ = false;  // the rate counts packets, not bits
  RateTime rate_time_;       // with a rate: when the next frame leaves if all before it went at it

  uint64_t count_ = 0;  // frames given
  Wide loop_start_ps_ = 0;
  uint64_t last_time_ps_ = 0;
  uint64_t last_bits_ = 0;  // on the wire, of the last frame
  std::array<Record, 64> records_;
  std::optional<Error> failure_;  // of a frame behind those that were given

  bool first_ = true;
  int64_t latest_ns_ = 0;  // the timestamp that counts as the last one
  Wide offset_ps_ = 0;     // its time in the capture, gaps shortened
  uint64_t backwards_ = 0;
  uint64_t shortened_gaps_ = 0;

  uint64_t loop_ = 1;
  size_t position_ = 0;  // in stored_, from the second loop on
  std::vector<uint8_t> memory_;
  std::vector<Stored> stored_;
};

}  // namespace xnic::traces
