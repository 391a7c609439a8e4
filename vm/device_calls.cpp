// Who calls such a kfunc is told by the relocations of the ELF file: each names the kfunc's symbol
// and lies in the calling function. Left out: calls out of a function's callees, which stand by
// themselves in the answer. Test: tests/vm/kfunc_test.cpp.
#include "vm/device_calls.h"

#include <algorithm>
#include <cstring>

#include "vm/elf_file.h"
#include "vm/kfunc.h"

namespace xnic::vm {
namespace {

bool needs_device(const std::string& name) {
  return std::ranges::any_of(
      kfuncs(), [&](const Kfunc& kfunc) { return kfunc.needs_device && kfunc.row.name == name; });
}

}  // namespace

std::vector<std::string> functions_that_need_a_device(std::span<const uint8_t> bytes) {
  const auto file = ElfFile::parse(bytes);
  if (!file) return {};
  const std::vector<Elf64_Sym> symbols = file->symbols();
  std::vector<std::string> names;
  for (const ElfFile::Section& section : file->sections) {
    if (section.header.sh_type != SHT_REL) continue;
    for (size_t at = 0; at + sizeof(Elf64_Rel) <= section.data.size(); at += sizeof(Elf64_Rel)) {
      Elf64_Rel relocation;
      std::memcpy(&relocation, section.data.data() + at, sizeof relocation);
      const uint64_t symbol = ELF64_R_SYM(relocation.r_info);
      if (symbol >= symbols.size() || symbols[symbol].st_shndx != SHN_UNDEF ||
          !needs_device(file->symbol_name(symbols[symbol]))) {
        continue;
      }
      for (const Elf64_Sym& function : symbols) {
        if (ELF64_ST_TYPE(function.st_info) == STT_FUNC &&
            function.st_shndx == section.header.sh_info &&
            relocation.r_offset - function.st_value < function.st_size) {
          names.push_back(file->symbol_name(function));
        }
      }
    }
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace xnic::vm
