// The tables under longest prefix matches of 32-bit addresses. What it leaves out: every other
// length of address, for which vm/maps/lpm_trie.cpp walks its trie.
// Test: tests/vm/map_test.cpp, through the map (a linear model).
#include "vm/maps/prefix_table.h"

#include <algorithm>
#include <cstring>

namespace xnic::vm {

tl::expected<PrefixTable, int> PrefixTable::make(uint32_t prefixes) {
  return MemoryBlock::reserve(kRootEntries * sizeof(Entry)).and_then([&](MemoryBlock&& root) {
    return ElementPool::make(sizeof(Table), uint64_t{prefixes} * kTablesBelowRoot)
        .map([&](ElementPool&& tables) { return PrefixTable(std::move(root), std::move(tables)); });
  });
}

uint32_t PrefixTable::new_table() {
  const uint32_t index = tables_.take();
  if (index == ElementPool::kNone) return 0;
  Table& table = table_at(index + 1);
  table.prefixes = 0;
  for (Entry& entry : table.entries) {
    entry.best.store(0, std::memory_order_release);
    entry.table.store(0, std::memory_order_release);
  }
  return index + 1;
}

bool PrefixTable::open_path(uint32_t address, uint32_t length) {
  Entry* entry = root() + (address >> (32 - kRootBits));
  for (uint32_t end = kRootBits; end < length;) {
    end += kTableBits;
    uint32_t number = entry->table.load(std::memory_order_relaxed);
    if (number == 0) {
      number = new_table();
      if (number == 0) {
        close_path(address, end - kTableBits);
        return false;
      }
      entry->table.store(number, std::memory_order_release);
    }
    ++table_at(number).prefixes;
    entry = entries(number) + place(address, end);
  }
  return true;
}

void PrefixTable::close_path(uint32_t address, uint32_t length) {
  Entry* entry = root() + (address >> (32 - kRootBits));
  for (uint32_t end = kRootBits; end < length;) {
    end += kTableBits;
    uint32_t number = entry->table.load(std::memory_order_relaxed);
    if (--table_at(number).prefixes == 0) {
      // Those below hold this prefix alone and go with it.
      entry->table.store(0, std::memory_order_release);
      for (; number != 0; end += kTableBits) {
        const Entry& next = entries(number)[place(address, end)];
        tables_.give_back(number - 1);
        number = next.table.load(std::memory_order_relaxed);
      }
      return;
    }
    entry = entries(number) + place(address, end);
  }
}

}  // namespace xnic::vm
