#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "vm/map.h"
#include "vm/wakeup.h"

namespace xnic::vm {

// BPF_MAP_TYPE_RINGBUF: records of any length from all CPUs to one reader, in the order in which
// they were reserved. See MapType for what check and create answer.
int check_ringbuf(const MapSpec& spec);
tl::expected<std::shared_ptr<Map>, int> create_ringbuf(const MapSpec& spec,
                                                       const MapContext& context);

// The map's memfd holds what user space maps: a page with the consumer's position, a page with the
// producer's, and the data twice. A record is 8 bytes of header (length with BPF_RINGBUF_BUSY_BIT
// and BPF_RINGBUF_DISCARD_BIT, page offset) and its bytes, rounded up to 8.
class RingBuffer : public Map {
 public:
  // The pages of one ring: a private one that leads back to its RingBuffer, then what is shared.
  class Pages;

  RingBuffer(const MapSpec& spec, const MapContext& context, std::unique_ptr<Pages> pages);
  ~RingBuffer() override;

  // The ring that a map is; null for every other type.
  static RingBuffer* of(Map& map) {
    return map.spec().type == BPF_MAP_TYPE_RINGBUF ? static_cast<RingBuffer*>(&map) : nullptr;
  }
  // The ring of a record that reserve() gave.
  static RingBuffer& of_record(const uint8_t* record);

  // bpf_ringbuf_reserve: `size` bytes that are the caller's until commit(); null without room.
  uint8_t* reserve(uint64_t size);
  // bpf_ringbuf_submit and _discard. Flags: BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP.
  void commit(uint8_t* record, uint64_t flags, bool discard);
  // bpf_ringbuf_output: 0, -EINVAL for unknown flags, -EAGAIN without room.
  int output(std::span<const uint8_t> bytes, uint64_t flags);
  // bpf_ringbuf_query: BPF_RB_AVAIL_DATA and its like; 0 for what does not exist.
  uint64_t query(uint64_t what) const;

  // Takes every record that is ready off the ring, as a reader in user space would.
  void consume(const std::function<void(std::span<const uint8_t>)>& visit);

  int check_mmap(uint64_t length, int protection, uint64_t offset) const override;
  std::vector<std::vector<uint8_t>> contents() override;
  int restore_contents(std::span<const std::vector<uint8_t>> records) override;
  Wakeup& wakeup() { return wakeup_; }
  bool has_unread() const { return query(BPF_RB_AVAIL_DATA) != 0; }

  // A ring has no elements.
  uint8_t* lookup(const uint8_t*, uint32_t) override { return nullptr; }
  int update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) override;
  int erase(const uint8_t*) override;
  int user_lookup(const uint8_t*, uint8_t*, uint64_t) override;
  int user_update(const uint8_t*, const uint8_t*, uint64_t) override;
  int next_key(const uint8_t*, uint8_t*) override;

 private:
  // Visits the records that are ready, and gives the position behind each to `passed`.
  template <class Visit, class Passed>
  void for_each_ready(Visit visit, Passed passed) const;
  uint8_t* at(uint64_t position) const { return data_ + (position & mask_); }
  void write_header(uint64_t position, uint32_t length);
  // `start` in bytes from the first copy's start.
  void copy_to_other_half(uint64_t start, uint64_t bytes);

  std::unique_ptr<Pages> pages_;
  uint8_t* data_;
  uint64_t mask_;
  uint64_t pending_ = 0;  // position of the first record that is not committed, or later
  std::mutex producer_;
  Wakeup wakeup_;
};

}  // namespace xnic::vm
