#pragma once

#include <deque>
#include <utility>
#include <vector>

#include "sim/interface_hooks.h"

namespace xnic::sim {

// Copies of the hooks of a machine for one thread, which count for themselves.
class HookCopies {
 public:
  explicit HookCopies(InterfaceHooks originals) : originals_(std::move(originals)) {
    for (const InterfaceHooks::Entry& entry : originals_.all()) {
      Hooks& copy = copies_.emplace_back(vm::make_hooks());
      for (size_t i = 0; i < copy.size(); ++i) copy[i] = (*entry.hooks)[i].fresh_copy();
    }
  }

  InterfaceHooks hooks() {
    std::vector<InterfaceHooks::Entry> entries(originals_.all().begin(), originals_.all().end());
    for (size_t i = 0; i < entries.size(); ++i) entries[i].hooks = &copies_[i];
    return InterfaceHooks(std::move(entries));
  }
  // Adds what they counted to the originals.
  void report() const {
    for (size_t i = 0; i < copies_.size(); ++i) {
      Hooks& hooks = *originals_.all()[i].hooks;
      for (size_t point = 0; point < hooks.size(); ++point) hooks[point].add(copies_[i][point]);
    }
  }

 private:
  InterfaceHooks originals_;
  std::deque<Hooks> copies_;  // by interface
};

}  // namespace xnic::sim
