#pragma once

#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "vm/btf.h"
#include "vm/interpreter_records.h"
#include "vm/isa.h"
#include "vm/local_types.h"
#include "vm/map.h"
#include "vm/packet.h"
#include "vm/program.h"

namespace xnic::vm {

// All memory that one run of the interpreter may touch, but for the context: its stack frames, the
// packet with its metadata, and map values. The packet is asked for its bounds at each check, so
// helpers may move them. Test: tests/vm/interpreter_test.cpp.
class RunMemory {
 public:
  // A program has up to 8 frames, and one that is tail-called from the innermost of them takes that
  // and brings up to 7 of its own, 33 times in a run. The limit stops runaway callbacks alone.
  static constexpr uint32_t kFrames = 8 + 33 * 7;

  explicit RunMemory(Packet& packet) : packet_(packet) {}

  uint32_t frames() const { return frames_; }

  // A fresh zeroed frame; gives its end, the value of r10. The caller keeps to kFrames.
  uint64_t push_frame() {
    if (++frames_ > kNearFrames && deep_stack_ == nullptr) {
      // Only what is a frame will be read, and that is cleared first.
      deep_stack_.reset(new uint8_t[kDeepFrames * kStride]);
    }
    return clear_frame();
  }
  void pop_frame() { --frames_; }
  // Zeroes the innermost frame, for the program that replaces its owner.
  uint64_t clear_frame() {
    uint8_t* frame = innermost_frame();
    std::memset(frame, 0, kFrameBytes);
    return reinterpret_cast<uintptr_t>(frame) + kFrameBytes;
  }

  // Every access is answered for `size` of at least 1.
  bool may_read(const Program& program, uint64_t address, uint64_t size) {
    return in_stack(address, size) || in_packet(address, size) || records_.hold(address, size) ||
           in_map(program, address, size, false);
  }
  bool may_write(const Program& program, uint64_t address, uint64_t size) {
    return in_stack(address, size) || in_packet(address, size) || records_.hold(address, size) ||
           in_map(program, address, size, true);
  }
  // Linux refuses atomics on the packet.
  bool may_update(const Program& program, uint64_t address, uint64_t size) {
    return in_stack(address, size) || records_.hold(address, size) ||
           (!in_packet(address, size) && in_map(program, address, size, false) &&
            in_map(program, address, size, true));
  }

  bool in_packet(uint64_t address, uint64_t size) const {
    const uint64_t offset = address - reinterpret_cast<uintptr_t>(packet_.data_meta());
    const auto length = static_cast<uint64_t>(packet_.data_end() - packet_.data_meta());
    return offset < length && size <= length - offset;
  }

  // Whether a NUL follows within the value, at or behind the address, of a map that neither user
  // space nor programs can change.
  bool holds_string(const Program& program, uint64_t address) const {
    for (const std::shared_ptr<Map>& map : program.maps()) {
      if ((map->spec().flags & BPF_F_RDONLY_PROG) == 0 || !map->frozen) continue;
      const std::span<const uint8_t> value = map->direct_value();
      const uint64_t at = address - reinterpret_cast<uintptr_t>(value.data());
      if (at < value.size()) {
        return std::memchr(value.data() + at, 0, value.size() - at) != nullptr;
      }
    }
    return false;
  }

  // Opens a map value to the program for the rest of the run. Values stay readable until the map
  // dies, so a grant is never taken back.
  void grant(uint64_t start, const Map& map) {
    const Region region = region_of(start, map);
    for (uint32_t i = 0; i < recent_count_; ++i) {
      if (recent_[i].start == start) {
        std::swap(recent_[0], recent_[i]);
        return;
      }
    }
    if (recent_count_ == recent_.size()) {
      const Region& oldest = recent_[next_victim_];
      older_.insert_or_assign(oldest.start, oldest);
      recent_[next_victim_] = region;
      next_victim_ = (next_victim_ + 1) % static_cast<uint32_t>(recent_.size());
      return;
    }
    recent_[recent_count_++] = region;
    std::swap(recent_[0], recent_[recent_count_ - 1]);
  }

  // A map value; none where `map` is null.
  struct Value {
    const Map* map = nullptr;
    uint64_t start = 0;
  };
  // The value that the address falls into.
  Value value_around(const Program& program, uint64_t address) {
    if (!in_map(program, address, 1, false) && !in_map(program, address, 1, true)) return {};
    for (uint32_t i = 0; i < recent_count_; ++i) {
      if (recent_[i].holds(address, 1)) return {recent_[i].map, recent_[i].start};
    }
    const auto after = older_.upper_bound(address);
    if (after == older_.begin()) return {};
    const Region& region = std::prev(after)->second;
    return region.holds(address, 1) ? Value{region.map, region.start} : Value{};
  }

  // The living object of the program's that the address falls into.
  static LocalTypes::Object object_around(const Program& program, uint64_t address) {
    const Btf* types = program.spec().btf.get();
    if (types == nullptr || types->local_types() == nullptr) return {};
    return types->local_types()->object_around(address);
  }

  // Ring buffer records, which are memory of the program for a time.
  RunRecords& records() { return records_; }
  // Opens memory of a helper for reading, until it is taken back; the last lent goes first.
  void lend(uint64_t start, uint64_t size) { lent_.push_back({start, size, true, false, nullptr}); }
  void take_back() { lent_.pop_back(); }

  // What lies at the address, for the sentence of a fault: "offset 62 of the packet, ...".
  std::string describe(uint64_t address) const {
    const auto signed_distance = [address](uint64_t from) {
      return static_cast<int64_t>(address - from);
    };
    if (address - reinterpret_cast<uintptr_t>(stack_) < sizeof(stack_) || in_deep_area(address)) {
      const int64_t from_end =
          signed_distance(reinterpret_cast<uintptr_t>(innermost_frame()) + kFrameBytes);
      return fmt::format("r10{:+d}, outside the stack frame (r10-{} to r10-1)", from_end,
                         kFrameBytes);
    }
    const auto buffer = reinterpret_cast<uintptr_t>(packet_.hard_start());
    if (address - buffer < packet_.buffer_size()) {
      const int64_t at = address_offset(address);
      const auto length = static_cast<int64_t>(packet_.linear_length());
      if (at > length) {
        return fmt::format("{} bytes past the end of the packet of {} bytes", at - length, length);
      }
      if (at < 0) return fmt::format("{} bytes before the start of the packet", -at);
      return fmt::format("offset {} of the packet, which has {} bytes", at, length);
    }
    if (std::string record = records_.describe(address); !record.empty()) return record;
    for (uint32_t i = 0; i < recent_count_; ++i) {
      const int64_t at = signed_distance(recent_[i].start);
      const auto size = static_cast<int64_t>(recent_[i].size);
      if (at >= -kNear && at < size + kNear) {
        const char* reading = recent_[i].readable ? "" : ", which programs may not read";
        const char* writing = recent_[i].writable ? "" : ", which programs may not write";
        return fmt::format("offset {} of a map value of {} bytes{}{}", at, size, reading, writing);
      }
    }
    if (address < kNullPage) return fmt::format("NULL+{}", address);
    return "an address that belongs to nothing the program may touch";
  }

 private:
  struct Region {
    uint64_t start;
    uint64_t size;
    bool readable;
    bool writable;
    const Map* map;  // whose value it is; may be null

    bool holds(uint64_t address, uint64_t bytes) const {
      return address - start < size && bytes <= size - (address - start);
    }
    bool allows(bool write) const { return write ? writable : readable; }
  };

  // Frames stand in the middle of larger cells, so that an access past either end of one meets
  // no other. The first frame has the highest address, as on Linux; those past kNearFrames, which
  // few runs need, stand in a memory of their own.
  static constexpr uint32_t kNearFrames = 16;
  static constexpr uint32_t kDeepFrames = kFrames - kNearFrames;
  static constexpr uint32_t kStride = 1024;
  static constexpr uint32_t kGap = (kStride - kFrameBytes) / 2;
  static constexpr uint64_t kNullPage = 4096;
  static constexpr int64_t kNear = 64;  // bytes; farther off, an address is not put down to a value

  static Region region_of(uint64_t start, const Map& map) {
    const uint32_t flags = map.spec().flags;
    return {start, map.spec().value_size, (flags & BPF_F_WRONLY_PROG) == 0,
            (flags & BPF_F_RDONLY_PROG) == 0, &map};
  }

  int64_t address_offset(uint64_t address) const {
    return static_cast<int64_t>(address - reinterpret_cast<uintptr_t>(packet_.data()));
  }

  bool in_stack(uint64_t address, uint64_t size) const {
    const uint64_t offset = address - reinterpret_cast<uintptr_t>(stack_);
    if (offset >= sizeof(stack_)) return in_deep_area(address) && in_deep_stack(address, size);
    return offset / kStride + std::min(frames_, kNearFrames) >= kNearFrames &&
           within_frame(offset, size);
  }

  // Out of line, to keep the way of ordinary accesses short.
  [[gnu::noinline]] bool in_deep_stack(uint64_t address, uint64_t size) const {
    const uint64_t offset = address - reinterpret_cast<uintptr_t>(deep_stack_.get());
    return offset / kStride + frames_ >= kFrames && within_frame(offset, size);
  }
  bool in_deep_area(uint64_t address) const {
    return deep_stack_ != nullptr && address - reinterpret_cast<uintptr_t>(deep_stack_.get()) <
                                         uint64_t{kDeepFrames} * kStride;
  }
  static bool within_frame(uint64_t offset, uint64_t size) {
    const uint64_t within = offset % kStride - kGap;
    return within < kFrameBytes && size <= kFrameBytes - within;
  }
  // The stack grows downwards in either memory.
  uint8_t* innermost_frame() const {
    uint8_t* cell = frames_ <= kNearFrames
                        ? const_cast<uint8_t*>(stack_) + (kNearFrames - frames_) * kStride
                        : deep_stack_.get() + (kFrames - frames_) * kStride;
    return cell + kGap;
  }

  bool in_map(const Program& program, uint64_t address, uint64_t size, bool write) {
    for (uint32_t i = 0; i < recent_count_; ++i) {
      if (recent_[i].holds(address, size)) return recent_[i].allows(write);
    }
    if (!older_.empty()) {
      auto after = older_.upper_bound(address);
      if (after != older_.begin()) {
        const Region& region = std::prev(after)->second;
        if (region.holds(address, size)) return region.allows(write);
      }
    }
    for (const Region& region : lent_) {
      if (region.holds(address, size)) return region.allows(write);
    }
    if (const LocalTypes::Object object = object_around(program, address);
        object.start != nullptr) {
      return size <= object.size - (address - reinterpret_cast<uintptr_t>(object.start));
    }
    for (const std::shared_ptr<Map>& map : program.maps()) {
      const std::span<uint8_t> value = map->direct_value();
      if (value.empty()) continue;
      const Region region = region_of(reinterpret_cast<uintptr_t>(value.data()), *map);
      if (!region.holds(address, size)) continue;
      grant(region.start, *map);
      return region.allows(write);
    }
    return false;
  }

  Packet& packet_;
  uint32_t frames_ = 0;
  uint32_t recent_count_ = 0;
  uint32_t next_victim_ = 0;
  std::array<Region, 16> recent_;
  std::map<uint64_t, Region> older_;  // by start
  RunRecords records_;
  std::vector<Region> lent_;
  std::unique_ptr<uint8_t[]> deep_stack_;
  alignas(16) uint8_t stack_[kNearFrames * kStride];
};

}  // namespace xnic::vm
