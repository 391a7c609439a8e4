#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace xnic::vm {

// The ring buffer records that one run reserved: memory of the program until it submits or discards
// them. Test: tests/vm/ringbuf_test.cpp.
class RunRecords {
 public:
  void open(uint64_t start, uint64_t size) {
    std::erase_if(records_, [&](const Record& record) {
      return !record.open && record.start < start + size && start < record.start + record.size;
    });
    records_.push_back({start, size, true});
  }
  bool is_open(uint64_t start) const {
    return std::ranges::any_of(records_,
                               [&](const Record& r) { return r.open && r.start == start; });
  }
  void close(uint64_t start) {
    for (Record& record : records_) {
      if (record.start == start) record.open = false;
    }
  }
  // Whether an access falls into an open record.
  bool hold(uint64_t address, uint64_t size) const {
    return std::ranges::any_of(records_, [&](const Record& r) {
      return r.open && address - r.start < r.size && size <= r.size - (address - r.start);
    });
  }
  // The start of an open record, 0 if there is none.
  uint64_t any_open() const {
    const auto found = std::ranges::find(records_, true, &Record::open);
    return found == records_.end() ? 0 : found->start;
  }
  // What lies at or just behind the address; empty if that is no record.
  std::string describe(uint64_t address) const {
    for (const Record& record : records_) {
      if (address - record.start > record.size + kNear) continue;
      return fmt::format("offset {} of a ring buffer record of {} bytes{}", address - record.start,
                         record.size,
                         record.open ? "" : ", which was submitted or discarded before");
    }
    return {};
  }

 private:
  struct Record {
    uint64_t start;
    uint64_t size;
    bool open;
  };
  static constexpr uint64_t kNear = 8;  // bytes

  std::vector<Record> records_;
};

}  // namespace xnic::vm
