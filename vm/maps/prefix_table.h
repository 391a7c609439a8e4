#pragma once

#include <atomic>
#include <cstdint>

#include "vm/maps/memory.h"

namespace xnic::vm {

// Longest prefix match of whole 32-bit addresses in at most three steps: tables of 2^16, 2^8 and
// 2^8 entries, each of which names the longest prefix that ends within its table and the table
// below. Prefixes are known by numbers of the caller's, from 1.
//
// Writers exclude each other; readers may read meanwhile, and must not trust what they read then.
class PrefixTable {
 public:
  // For at most `prefixes`. -ENOMEM without address space.
  static tl::expected<PrefixTable, int> make(uint32_t prefixes);

  // The longest prefix that the address (host byte order) begins with, 0 for none.
  uint32_t find(uint32_t address) const {
    const Entry* entry = root() + (address >> 16);
    uint32_t best = entry->best.load(std::memory_order_acquire);
    uint32_t table = entry->table.load(std::memory_order_acquire);
    if (table == 0) return best;
    entry = entries(table) + (address >> 8 & 0xff);
    if (const uint32_t longer = entry->best.load(std::memory_order_acquire)) best = longer;
    table = entry->table.load(std::memory_order_acquire);
    if (table == 0) return best;
    const uint32_t longest =
        (entries(table) + (address & 0xff))->best.load(std::memory_order_acquire);
    return longest != 0 ? longest : best;
  }

  void prefetch(uint32_t address) const { __builtin_prefetch(root() + (address >> 16)); }

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
  static uint32_t table_above(uint32_t length) { return length <= 16 ? 0 : length <= 24 ? 16 : 24; }

 private:
  static constexpr uint32_t kRootEntries = 1u << 16;
  static constexpr uint32_t kTableEntries = 1u << 8;

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

  bool open_path(uint32_t address, uint32_t length);
  uint32_t new_table();

  // Calls `visit` for each entry that the prefix covers in its table.
  template <class Visit>
  void for_entries(uint32_t address, uint32_t length, Visit visit) {
    Entry* entry = root() + (address >> 16);
    uint32_t count = length < 16 ? 1u << (16 - length) : 1;
    for (uint32_t end = 24; end <= 32 && length > end - 8; end += 8) {
      entry =
          entries(entry->table.load(std::memory_order_relaxed)) + (address >> (32 - end) & 0xff);
      count = length < end ? 1u << (end - length) : 1;
    }
    for (uint32_t i = 0; i < count; ++i) visit(entry[i]);
  }

  MemoryBlock root_;
  ElementPool tables_;  // a table's number is one more than its place here
};

}  // namespace xnic::vm
