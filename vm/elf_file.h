#pragma once

#include <elf.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vm/result.h"

namespace xnic::vm {

// A relocatable ELF file of 64 bits in little-endian order, taken apart so that sections can be
// changed, added and written back. Every offset of the file is checked: it comes from outside.
// Relocation entries, symbols and section contents are the caller's to check. Test:
// tests/vm/objects_test.cpp.
class ElfFile {
 public:
  struct Section {
    std::string name;
    Elf64_Shdr header;  // name, offset and size are set anew when written
    std::vector<uint8_t> data;
  };

  // A whole sentence without the file's name, if it is no such file.
  static Result<ElfFile> parse(std::span<const uint8_t> bytes);
  std::vector<uint8_t> write() const;

  Elf64_Ehdr header;
  std::vector<Section> sections;  // by section index; 0 is the empty one

  // The index of the first section of that name; 0 if there is none.
  uint32_t find(std::string_view name) const;
  std::vector<Elf64_Sym> symbols() const;
  void set_symbols(const std::vector<Elf64_Sym>& symbols);
  std::string symbol_name(const Elf64_Sym& symbol) const;

 private:
  uint32_t symbol_table() const;
};

}  // namespace xnic::vm
