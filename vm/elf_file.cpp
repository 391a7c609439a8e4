#include "vm/elf_file.h"

#include <algorithm>
#include <cstring>

namespace xnic::vm {
namespace {

std::string text_at(const std::vector<uint8_t>& table, size_t offset) {
  if (offset >= table.size()) return {};
  const auto* start = reinterpret_cast<const char*>(table.data()) + offset;
  return {start, strnlen(start, table.size() - offset)};
}

}  // namespace

Result<ElfFile> ElfFile::parse(std::span<const uint8_t> bytes) {
  ElfFile file;
  if (bytes.size() < sizeof file.header) {
    return fail(ExitCode::bad_input, "the ELF header is cut off");
  }
  std::memcpy(&file.header, bytes.data(), sizeof file.header);
  const Elf64_Ehdr& header = file.header;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_shentsize != sizeof(Elf64_Shdr)) {
    return fail(ExitCode::bad_input, "it is no ELF file of 64 bits in little-endian order");
  }
  const uint64_t table = uint64_t{header.e_shnum} * sizeof(Elf64_Shdr);
  if (header.e_shoff > bytes.size() || table > bytes.size() - header.e_shoff ||
      header.e_shstrndx >= header.e_shnum) {
    return fail(ExitCode::bad_input, "the section table lies outside of the file");
  }
  file.sections.resize(header.e_shnum);
  for (size_t i = 0; i < file.sections.size(); ++i) {
    Section& section = file.sections[i];
    std::memcpy(&section.header, bytes.data() + header.e_shoff + i * sizeof(Elf64_Shdr),
                sizeof(Elf64_Shdr));
    if (section.header.sh_type == SHT_NOBITS || section.header.sh_type == SHT_NULL) continue;
    const Elf64_Shdr& place = section.header;
    if (place.sh_offset > bytes.size() || place.sh_size > bytes.size() - place.sh_offset) {
      return fail(ExitCode::bad_input, "section {} lies outside of the file", i);
    }
    const auto from = bytes.begin() + static_cast<ptrdiff_t>(place.sh_offset);
    section.data.assign(from, from + static_cast<ptrdiff_t>(place.sh_size));
  }
  const std::vector<uint8_t>& names = file.sections[header.e_shstrndx].data;
  for (Section& section : file.sections) section.name = text_at(names, section.header.sh_name);
  return file;
}

std::vector<uint8_t> ElfFile::write() const {
  std::vector<Section> written = sections;
  // Section and symbol names may share one table, so the names are appended to what it holds.
  std::vector<uint8_t>& names = written[header.e_shstrndx].data;
  for (Section& section : written) {
    section.header.sh_name = static_cast<uint32_t>(names.size());
    names.insert(names.end(), section.name.begin(), section.name.end());
    names.push_back(0);
  }
  std::vector<uint8_t> out(sizeof header);
  for (Section& section : written) {
    if (section.header.sh_type == SHT_NULL) continue;
    constexpr size_t kAlign = 16;
    out.resize((out.size() + kAlign - 1) / kAlign * kAlign);
    section.header.sh_offset = out.size();
    if (section.header.sh_type == SHT_NOBITS) continue;
    section.header.sh_size = section.data.size();
    out.insert(out.end(), section.data.begin(), section.data.end());
  }
  out.resize((out.size() + 7) / 8 * 8);
  Elf64_Ehdr head = header;
  head.e_shoff = out.size();
  head.e_shnum = static_cast<uint16_t>(written.size());
  std::memcpy(out.data(), &head, sizeof head);
  for (const Section& section : written) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&section.header);
    out.insert(out.end(), bytes, bytes + sizeof section.header);
  }
  return out;
}

uint32_t ElfFile::find(std::string_view name) const {
  const auto found = std::ranges::find(sections, name, &Section::name);
  return found == sections.end() ? 0 : static_cast<uint32_t>(found - sections.begin());
}

uint32_t ElfFile::symbol_table() const {
  for (uint32_t i = 0; i < sections.size(); ++i) {
    if (sections[i].header.sh_type == SHT_SYMTAB) return i;
  }
  return 0;
}

std::vector<Elf64_Sym> ElfFile::symbols() const {
  const std::vector<uint8_t>& data = sections[symbol_table()].data;
  std::vector<Elf64_Sym> found(data.size() / sizeof(Elf64_Sym));
  std::memcpy(found.data(), data.data(), found.size() * sizeof(Elf64_Sym));
  return found;
}

void ElfFile::set_symbols(const std::vector<Elf64_Sym>& symbols) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(symbols.data());
  sections[symbol_table()].data.assign(bytes, bytes + symbols.size() * sizeof(Elf64_Sym));
}

std::string ElfFile::symbol_name(const Elf64_Sym& symbol) const {
  const uint32_t strings = sections[symbol_table()].header.sh_link;
  return strings < sections.size() ? text_at(sections[strings].data, symbol.st_name)
                                   : std::string();
}

}  // namespace xnic::vm
