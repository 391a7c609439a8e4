#pragma once

#include <atomic>
#include <cstdint>

#include "vm/maps/memory.h"

namespace xnic::vm {

// Longest prefix match of whole 32-bit addresses in at most five steps: a table of 2^16 entries and
// below it tables of 2^4, each a line of the cache. An entry is the longest prefix that all of its
// addresses begin with, or the table that tells them apart. Tables are small so that those of many
// prefixes stay in the cache: a step to memory takes longer than five in the cache. Prefixes are
// known by numbers of the caller's, from 1 to kMostPrefixes.
//
// Looking up is quick at the cost of changes: a prefix changes all entries that it covers, which of
// a default route are all there are.
//
// Writers exclude each other; readers may read meanwhile, and must not trust what they read then.
class PrefixTable {
 public:
  static constexpr uint32_t kMostPrefixes = (1u << 31) - 1;

  // For at most `prefixes`. -ENOMEM without address space.
  static tl::expected<PrefixTable, int> make(uint32_t prefixes);

  // The longest prefix that the address (host byte order) begins with, 0 for none.
  uint32_t find(uint32_t address) const {
    uint32_t end = kRootBits;
    uint32_t entry = root()[address >> (32 - end)].load(std::memory_order_acquire);
    // Of many prefixes, the root tells about half of all addresses apart. A CPU cannot guess which,
    // and so the first step is taken without asking: into the table that nobody uses.
    end += kTableBits;
    const uint32_t is_table = 0 - (entry >> 31);
    const uint32_t below =
        table(entry & is_table & ~kIsTable)[place(address, end)].load(std::memory_order_acquire);
    entry = (entry & ~is_table) | (below & is_table);
    while ((entry & kIsTable) != 0 && end < 32) {
      end += kTableBits;
      entry = table(entry & ~kIsTable)[place(address, end)].load(std::memory_order_acquire);
    }
    return entry & ~kIsTable;
  }

  void prefetch(uint32_t address) const {
    __builtin_prefetch(root() + (address >> (32 - kRootBits)));
  }

  // Adds a prefix of `length` bits. `length_of` gives the length of a prefix that is there. False
  // without memory, and then nothing has changed.
  template <class LengthOf>
  bool add(uint32_t address, uint32_t length, uint32_t prefix, LengthOf length_of) {
    if (!open_path(address, length)) return false;
    for_prefixes(address, length, [&](Entry& entry) {
      const uint32_t there = entry.load(std::memory_order_relaxed);
      if (there == 0 || length_of(there) <= length) {
        entry.store(prefix, std::memory_order_release);
      }
    });
    return true;
  }
  // Puts another prefix of the same length in the place of one.
  void replace(uint32_t address, uint32_t length, uint32_t prefix, uint32_t with) {
    for_prefixes(address, length, [&](Entry& entry) {
      if (entry.load(std::memory_order_relaxed) == prefix) {
        entry.store(with, std::memory_order_release);
      }
    });
  }
  // Takes a prefix out; `shorter` is the longest of those that it begins with, 0 for none.
  void remove(uint32_t address, uint32_t length, uint32_t prefix, uint32_t shorter) {
    replace(address, length, prefix, shorter);
    close_path(address, length);
  }

 private:
  static constexpr uint32_t kRootBits = 16;  // of the address, a multiple of kTableBits
  static constexpr uint32_t kTableBits = 4;
  static constexpr uint32_t kRootEntries = 1u << kRootBits;
  static constexpr uint32_t kTableEntries = 1u << kTableBits;
  static constexpr uint32_t kTablesBelowRoot = (32 - kRootBits) / kTableBits;

  // A prefix, 0 for none, or with kIsTable a table's number.
  using Entry = std::atomic<uint32_t>;
  static constexpr uint32_t kIsTable = 1u << 31;

  PrefixTable(MemoryBlock entries, MemoryBlock uses, uint32_t tables)
      : entries_(std::move(entries)), uses_(std::move(uses)), tables_(tables) {}

  // The tables stand behind the root. That of number 0 stays empty.
  Entry* root() const { return reinterpret_cast<Entry*>(entries_.data()); }
  Entry* table(uint32_t number) const {
    return root() + kRootEntries + uint64_t{number} * kTableEntries;
  }
  // How many prefixes end in a table or below it; of a free one, the number of the next free one.
  uint32_t& uses(uint32_t number) { return reinterpret_cast<uint32_t*>(uses_.data())[number]; }

  // Where an address stands in its table for the bits up to `end`.
  static uint32_t place(uint32_t address, uint32_t end) {
    return address >> (32 - end) & (kTableEntries - 1);
  }

  bool open_path(uint32_t address, uint32_t length);
  void close_path(uint32_t address, uint32_t length);
  // A table with the same prefix everywhere; 0 without memory.
  uint32_t new_table(uint32_t prefix);
  void give_back(uint32_t number);

  // Calls `visit` for each entry that the prefix covers and that names a prefix.
  template <class Visit>
  void for_prefixes(uint32_t address, uint32_t length, const Visit& visit) {
    Entry* entry = root() + (address >> (32 - kRootBits));
    uint32_t end = kRootBits;
    while (length > end) {
      end += kTableBits;
      entry = table(entry->load(std::memory_order_relaxed) & ~kIsTable) + place(address, end);
    }
    for_prefixes(entry, 1u << (end - length), visit);
  }
  template <class Visit>
  void for_prefixes(Entry* first, uint32_t count, const Visit& visit) {
    for (Entry* entry = first; entry < first + count; ++entry) {
      const uint32_t there = entry->load(std::memory_order_relaxed);
      if ((there & kIsTable) != 0) {
        for_prefixes(table(there & ~kIsTable), kTableEntries, visit);
      } else {
        visit(*entry);
      }
    }
  }

  MemoryBlock entries_;
  MemoryBlock uses_;
  uint32_t tables_;       // at most
  uint32_t touched_ = 1;  // number behind the tables that were ever used
  uint32_t first_free_ = 0;
};

}  // namespace xnic::vm
