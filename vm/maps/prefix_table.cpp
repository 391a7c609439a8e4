// The tables under longest prefix matches of 32-bit addresses. What it leaves out: every other
// length of address, for which vm/maps/lpm_trie.cpp walks its trie.
// Test: tests/vm/map_test.cpp, through the map (a linear model).
#include "vm/maps/prefix_table.h"

#include <algorithm>

namespace xnic::vm {

tl::expected<PrefixTable, int> PrefixTable::make(uint32_t prefixes) {
  constexpr uint64_t kMostTables = 1u << 30;
  const uint64_t tables = std::min(uint64_t{prefixes} * kTablesBelowRoot + 1, kMostTables);
  const uint64_t entries = kRootEntries + tables * kTableEntries;
  return MemoryBlock::reserve(entries * sizeof(Entry)).and_then([&](MemoryBlock&& block) {
    return MemoryBlock::reserve(tables * sizeof(uint32_t)).map([&](MemoryBlock&& uses) {
      return PrefixTable(std::move(block), std::move(uses), static_cast<uint32_t>(tables));
    });
  });
}

uint32_t PrefixTable::new_table(uint32_t prefix) {
  if (first_free_ == 0 && touched_ == tables_) return 0;
  const uint32_t number = first_free_ != 0 ? first_free_ : touched_++;
  if (number == first_free_) first_free_ = uses(number);
  uses(number) = 0;
  for (uint32_t i = 0; i < kTableEntries; ++i) {
    table(number)[i].store(prefix, std::memory_order_release);
  }
  return number;
}

void PrefixTable::give_back(uint32_t number) {
  uses(number) = first_free_;
  first_free_ = number;
}

bool PrefixTable::open_path(uint32_t address, uint32_t length) {
  Entry* entry = root() + (address >> (32 - kRootBits));
  for (uint32_t end = kRootBits; end < length;) {
    end += kTableBits;
    const uint32_t there = entry->load(std::memory_order_relaxed);
    uint32_t number = there & ~kIsTable;
    if ((there & kIsTable) == 0) {
      number = new_table(there);
      if (number == 0) {
        close_path(address, end - kTableBits);
        return false;
      }
      entry->store(number | kIsTable, std::memory_order_release);
    }
    ++uses(number);
    entry = table(number) + place(address, end);
  }
  return true;
}

void PrefixTable::close_path(uint32_t address, uint32_t length) {
  Entry* entry = root() + (address >> (32 - kRootBits));
  for (uint32_t end = kRootBits; end < length;) {
    end += kTableBits;
    const uint32_t number = entry->load(std::memory_order_relaxed) & ~kIsTable;
    if (--uses(number) == 0) {
      // No prefix ends here or below: all entries name the same one, and the tables below on the
      // way, which were this prefix's alone, go as well.
      uint32_t left = number | kIsTable;
      for (; (left & kIsTable) != 0; end += kTableBits) {
        const uint32_t gone = left & ~kIsTable;
        left = table(gone)[place(address, end)].load(std::memory_order_relaxed);
        give_back(gone);
      }
      entry->store(left, std::memory_order_release);
      return;
    }
    entry = table(number) + place(address, end);
  }
}

}  // namespace xnic::vm
