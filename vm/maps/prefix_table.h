#pragma once

#include <atomic>
#include <cstdint>

#include "vm/maps/memory.h"

namespace xnic::vm {

// Longest prefix match of whole 32-bit addresses in at most five steps: a table of 2^16 entries and
// below it tables of 2^4, each of which names the longest prefix that ends within its table and the
// table below. Tables are small so that those of many prefixes stay in the cache: a table of 2^8
// for each of 100,000 prefixes does not, and a step to memory takes longer than five in the cache.
// Prefixes are known by numbers of the caller's, from 1.
//
// Writers exclude each other; readers may read meanwhile, and must not trust what they read then.
class PrefixTable {
 public:
  // For at most `prefixes`. -ENOMEM without address space.
  static tl::expected<PrefixTable, int> make(uint32_t prefixes);

  // The longest prefix that the address (host byte order) begins with, 0 for none.
  uint32_t find(uint32_t address) const {
    const Entry* entry = root() + (address >> (32 - kRootBits));
    uint32_t best = entry->best.load(std::memory_order_acquire);
    for (uint32_t end = kRootBits + kTableBits;; end += kTableBits) {
      const uint32_t table = entry->table.load(std::memory_order_acquire);
      if (table == 0 || end > 32) return best;
      entry = entries(table) + place(address, end);
      if (const uint32_t longer = entry->best.load(std::memory_order_acquire)) best = longer;
    }
  }

  void prefetch(uint32_t address) const {
    __builtin_prefetch(root() + (address >> (32 - kRootBits)));
  }

  // Adds a prefix of `length` bits. `length_of` gives the length of a prefix that is there. False
  // without memory, and then nothing has changed.
  template <class LengthOf>
  bool add(uint32_t address, uint32_t length, uint32_t prefix, LengthOf length_of) {
    if (!open_path(address, length)) return false;
    for_entries(address, length, [&](Entry& entry) {
      const uint32_t there = entry.best.load(std::memory_order_relaxed);
      if (there == 0 || length_of(there) <= length) {
        entry.best.store(prefix, std::memory_order_release);
      }
    });
    return true;
  }
  // Puts another prefix in the place of one: of the same length, or where it goes away (then
  // close_path() follows) the next shorter one of the same table, 0 for none.
  void replace(uint32_t address, uint32_t length, uint32_t prefix, uint32_t with) {
    for_entries(address, length, [&](Entry& entry) {
      if (entry.best.load(std::memory_order_relaxed) == prefix) {
        entry.best.store(with, std::memory_order_release);
      }
    });
  }
  // Gives back tables that no prefix needs any more after one of `length` bits went away.
  void close_path(uint32_t address, uint32_t length);

  // Prefixes of lengths above this one, up to `length`, are in one table with those of `length`.
  static uint32_t table_above(uint32_t length) {
    return length <= kRootBits ? 0 : (length - 1) / kTableBits * kTableBits;
  }

 private:
  static constexpr uint32_t kRootBits = 16;  // of the address, a multiple of kTableBits
  static constexpr uint32_t kTableBits = 4;
  static constexpr uint32_t kRootEntries = 1u << kRootBits;
  static constexpr uint32_t kTableEntries = 1u << kTableBits;
  static constexpr uint32_t kTablesBelowRoot = (32 - kRootBits) / kTableBits;

  struct Entry {
    std::atomic<uint32_t> best;   // 0 for none
    std::atomic<uint32_t> table;  // 0 for none
  };
  struct Table {
    uint64_t link;      // the pool's; a reader may still be in a table that was given back
    uint64_t prefixes;  // in this table and those below
    Entry entries[kTableEntries];
  };

  PrefixTable(MemoryBlock root, ElementPool tables)
      : root_(std::move(root)), tables_(std::move(tables)) {}

  Entry* root() const { return reinterpret_cast<Entry*>(root_.data()); }
  Table& table_at(uint32_t number) const {
    return *reinterpret_cast<Table*>(tables_.at(number - 1));
  }
  Entry* entries(uint32_t number) const { return table_at(number).entries; }

  // Where an address stands in its table for the bits up to `end`.
  static uint32_t place(uint32_t address, uint32_t end) {
    return address >> (32 - end) & (kTableEntries - 1);
  }

  bool open_path(uint32_t address, uint32_t length);
  uint32_t new_table();

  // Calls `visit` for each entry that the prefix covers in its table.
  template <class Visit>
  void for_entries(uint32_t address, uint32_t length, Visit visit) {
    Entry* entry = root() + (address >> (32 - kRootBits));
    uint32_t end = kRootBits;
    while (length > end) {
      end += kTableBits;
      entry = entries(entry->table.load(std::memory_order_relaxed)) + place(address, end);
    }
    const uint32_t count = 1u << (end - length);
    for (uint32_t i = 0; i < count; ++i) visit(entry[i]);
  }

  MemoryBlock root_;
  ElementPool tables_;  // a table's number is one more than its place here
};

}  // namespace xnic::vm
