// The pass over old objects. Definitions become BTF the way libbpf spells maps there: a struct of
// pointers to arrays, whose lengths are the numbers. Those structs are 8 bytes long with all
// members at offset 0, so that one fits where any legacy definition stood and no symbol has to
// move; neither libbpf nor Linux asks members to keep apart.
#include "vm/elf_legacy_maps.h"

#include <bpf/btf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "vm/elf_file.h"

namespace xnic::vm {
namespace {

constexpr uint16_t kMachineBpf = 247;
constexpr uint32_t kRelocation64 = 1;   // R_BPF_64_64: ld_imm64
constexpr uint32_t kRelocation32 = 10;  // R_BPF_64_32: call
constexpr uint32_t kElfMapBytes = 36;   // struct bpf_elf_map of iproute2
constexpr uint32_t kLeastBytes = 16;    // type, key size, value size, entries
constexpr uint32_t kPointerBytes = 8;

using BtfPointer = std::unique_ptr<btf, decltype(&btf__free)>;

struct Definition {
  std::string name;
  uint32_t symbol = 0;
  uint32_t offset = 0;
  uint32_t bytes = 0;
  uint32_t type = 0, key_size = 0, value_size = 0, max_entries = 0, flags = 0;
  std::optional<uint32_t> inner_map_idx;  // of the kernel's samples: by place in the section
  LegacyMap legacy;
};

bool is_map_in_map(uint32_t type) {
  return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

bool is_data_symbol(const Elf64_Sym& symbol) {
  const unsigned char type = ELF64_ST_TYPE(symbol.st_info);
  return type == STT_OBJECT || type == STT_NOTYPE;
}

// The relocations of programs, given as RELA, as libbpf reads them: the addend in the instruction.
Result<void> drop_addends(ElfFile& file, bool& changed) {
  for (size_t i = 0; i < file.sections.size(); ++i) {
    ElfFile::Section& from = file.sections[i];
    if (from.header.sh_type != SHT_RELA) continue;
    if (from.header.sh_info >= file.sections.size()) continue;
    ElfFile::Section& target = file.sections[from.header.sh_info];
    if ((target.header.sh_flags & SHF_EXECINSTR) == 0) continue;
    std::vector<uint8_t> entries;
    for (size_t at = 0; at + sizeof(Elf64_Rela) <= from.data.size(); at += sizeof(Elf64_Rela)) {
      Elf64_Rela old;
      std::memcpy(&old, from.data.data() + at, sizeof old);
      if (old.r_offset > target.data.size() ||
          target.data.size() - old.r_offset < sizeof(bpf_insn)) {
        return fail(ExitCode::bad_input, "relocation {} of {} lies outside of its section",
                    at / sizeof old, target.name);
      }
      bpf_insn insn;
      std::memcpy(&insn, target.data.data() + old.r_offset, sizeof insn);
      const uint64_t type = ELF64_R_TYPE(old.r_info);
      if (type == kRelocation64) {
        insn.imm = static_cast<int32_t>(old.r_addend);
      } else if (type == kRelocation32) {
        // A call counts in instructions from the next one.
        insn.imm = static_cast<int32_t>(old.r_addend / int64_t{sizeof insn} - 1);
      }
      std::memcpy(target.data.data() + old.r_offset, &insn, sizeof insn);
      const Elf64_Rel plain{old.r_offset, old.r_info};
      const auto* bytes = reinterpret_cast<const uint8_t*>(&plain);
      entries.insert(entries.end(), bytes, bytes + sizeof plain);
    }
    from.data = std::move(entries);
    from.header.sh_type = SHT_REL;
    from.header.sh_entsize = sizeof(Elf64_Rel);
    if (from.name.starts_with(".rela")) from.name = ".rel" + from.name.substr(5);
    changed = true;
  }
  return {};
}

// What the BTF of the object calls the type of this definition; empty without.
std::string type_name_of(const btf* types, const std::string& variable) {
  if (types == nullptr) return {};
  const int32_t id = btf__find_by_name_kind(types, variable.c_str(), BTF_KIND_VAR);
  if (id < 0) return {};
  const btf_type* type = btf__type_by_id(types, btf__type_by_id(types, id)->type);
  const char* name = type == nullptr ? nullptr : btf__name_by_offset(types, type->name_off);
  return name == nullptr ? "" : name;
}

void read_fields(Definition& map, std::span<const uint8_t> bytes, const std::string& type_name) {
  uint32_t words[9] = {};
  std::memcpy(words, bytes.data(), std::min(bytes.size(), sizeof words));
  map.type = words[0];
  map.key_size = words[1];
  map.value_size = words[2];
  map.max_entries = words[3];
  map.flags = words[4];
  map.legacy.name = map.name;
  if (type_name == "bpf_elf_map" || (type_name.empty() && bytes.size() == kElfMapBytes)) {
    map.legacy.id = words[5];
    map.legacy.pinning = words[6];
    map.legacy.inner_id = words[7];
    // 0 is what a map has that is no inner one, and a good slot: the id tells them apart.
    if (map.legacy.id != 0 && !is_map_in_map(map.type)) map.legacy.inner_idx = words[8];
  } else if (is_map_in_map(map.type) && bytes.size() >= 6 * sizeof(uint32_t)) {
    map.inner_map_idx = words[5];
  }
}

Result<std::vector<Definition>> read_definitions(const ElfFile& file, uint32_t section,
                                                 const btf* types) {
  const std::vector<uint8_t>& data = file.sections[section].data;
  const std::vector<Elf64_Sym> symbols = file.symbols();
  std::vector<Definition> maps;
  for (uint32_t i = 0; i < symbols.size(); ++i) {
    const Elf64_Sym& symbol = symbols[i];
    if (symbol.st_shndx != section || !is_data_symbol(symbol)) continue;
    const std::string name = file.symbol_name(symbol);
    if (name.empty() || name.starts_with(".L")) continue;
    if (symbol.st_value >= data.size()) {
      return fail(ExitCode::bad_input, "map {} lies outside of its section", name);
    }
    Definition map;
    map.name = name;
    map.symbol = i;
    map.offset = static_cast<uint32_t>(symbol.st_value);
    maps.push_back(std::move(map));
  }
  if (maps.empty()) {
    return fail(ExitCode::bad_input, "section maps holds no map that a symbol names");
  }
  std::ranges::sort(maps, {}, &Definition::offset);
  for (size_t i = 0; i < maps.size(); ++i) {
    Definition& map = maps[i];
    const size_t end = i + 1 < maps.size() ? maps[i + 1].offset : data.size();
    const uint64_t own = symbols[map.symbol].st_size;
    map.bytes = static_cast<uint32_t>(own == 0 ? end - map.offset
                                               : std::min<uint64_t>(own, end - map.offset));
    if (map.bytes < kLeastBytes) {
      return fail(ExitCode::bad_input,
                  "map {} has a definition of {} bytes, at least {} are needed", map.name,
                  map.bytes, kLeastBytes);
    }
    read_fields(map, std::span(data).subspan(map.offset, map.bytes), type_name_of(types, map.name));
  }
  return maps;
}

// The kind of map that fills a map-in-map; null where the definition does not say.
const Definition* inner_of(const Definition& outer, const std::vector<Definition>& maps) {
  if (!is_map_in_map(outer.type)) return nullptr;
  if (outer.inner_map_idx && *outer.inner_map_idx < maps.size()) {
    return &maps[*outer.inner_map_idx];
  }
  if (outer.legacy.inner_id == 0) return nullptr;
  const auto found = std::ranges::find_if(
      maps, [&](const Definition& map) { return map.legacy.id == outer.legacy.inner_id; });
  return found == maps.end() ? nullptr : &*found;
}

// Writes definitions into BTF.
class BtfWriter {
 public:
  explicit BtfWriter(btf* types) : types_(types) {
    integer_ = btf__add_int(types_, "int", 4, BTF_INT_SIGNED);
  }

  // The struct that says what `map` says. `inner` may be null.
  int add_map(const Definition& map, const Definition* inner) {
    // A struct's members have to follow it, so all other types come first.
    struct Member {
      const char* name;
      int type;
    };
    std::vector<Member> members = {{"type", number(map.type)},
                                   {"key_size", number(map.key_size)},
                                   {"value_size", number(map.value_size)},
                                   {"max_entries", number(map.max_entries)},
                                   {"map_flags", number(map.flags)}};
    if (inner != nullptr) {
      const int kind = btf__add_ptr(types_, add_map(*inner, nullptr));
      members.push_back({"values", btf__add_array(types_, integer_, kind, 0)});
    }
    const int id = btf__add_struct(types_, "", kPointerBytes);
    for (const Member& member : members) {
      // `values` starts behind the others: libbpf looks for initialisers there, and finds none.
      const uint32_t bit = std::string_view(member.name) == "values" ? kPointerBytes * 8 : 0;
      btf__add_field(types_, member.name, member.type, bit, 0);
    }
    return id;
  }

 private:
  int number(uint32_t value) {
    return btf__add_ptr(types_, btf__add_array(types_, integer_, integer_, value));
  }

  btf* types_;
  int integer_;
};

btf_type* mutable_type(btf* types, int id) {
  return const_cast<btf_type*>(btf__type_by_id(types, static_cast<uint32_t>(id)));
}

// A variable of type `type`; takes the one that the object's own BTF has.
int variable(btf* types, const std::string& name, int type) {
  int id = btf__find_by_name_kind(types, name.c_str(), BTF_KIND_VAR);
  if (id < 0) return btf__add_var(types, name.c_str(), BTF_VAR_GLOBAL_ALLOCATED, type);
  mutable_type(types, id)->type = static_cast<uint32_t>(type);
  btf_var(mutable_type(types, id))->linkage = BTF_VAR_GLOBAL_ALLOCATED;
  return id;
}

// What the compiler wrote about a section must not be taken for the truth any more: gives it
// another name, and places that Linux finds nothing wrong with.
void retire_section(btf* types, const char* section, const char* new_name) {
  const int id = btf__find_by_name_kind(types, section, BTF_KIND_DATASEC);
  if (id < 0) return;
  const int name = btf__add_str(types, new_name);
  btf_type* old = mutable_type(types, id);
  old->name_off = static_cast<uint32_t>(name);
  old->size = 0;
  auto* places = reinterpret_cast<btf_var_secinfo*>(old + 1);
  for (uint32_t i = 0; i < btf_vlen(old); ++i) {
    places[i].offset = old->size;
    old->size += places[i].size;
  }
}

struct Place {
  int variable;  // BTF
  uint32_t offset;
  uint32_t bytes;
};

// Where the maps stand that `.maps` had before. BTF leaves that to the symbols.
std::vector<Place> places_in(const ElfFile& file, uint32_t section, const btf* types) {
  std::vector<Place> places;
  for (const Elf64_Sym& symbol : file.symbols()) {
    if (symbol.st_shndx != section || !is_data_symbol(symbol)) continue;
    const int id = btf__find_by_name_kind(types, file.symbol_name(symbol).c_str(), BTF_KIND_VAR);
    if (id < 0) continue;
    places.push_back(
        {id, static_cast<uint32_t>(symbol.st_value), static_cast<uint32_t>(symbol.st_size)});
  }
  return places;
}

// `.maps` in BTF: what it had before, and the definitions from `base` on.
void describe_section(btf* types, const std::vector<Definition>& maps, std::vector<Place> places,
                      uint32_t base, uint32_t section_bytes) {
  BtfWriter writer(types);
  for (const Definition& map : maps) {
    const int definition = writer.add_map(map, inner_of(map, maps));
    places.push_back({variable(types, map.name, definition), base + map.offset, map.bytes});
  }
  retire_section(types, "maps", ".maps_before");
  retire_section(types, ".maps", ".maps_without_legacy");
  std::ranges::sort(places, {}, &Place::offset);
  btf__add_datasec(types, ".maps", section_bytes);
  for (const Place& place : places) {
    btf__add_datasec_var_info(types, place.variable, place.offset, place.bytes);
  }
}

// References to static maps go through the section and an offset: led to the map's own symbol,
// which is the only way that libbpf follows.
void name_maps_in_relocations(ElfFile& file, uint32_t section,
                              const std::vector<Definition>& maps) {
  const std::vector<Elf64_Sym> symbols = file.symbols();
  for (ElfFile::Section& entries : file.sections) {
    if (entries.header.sh_type != SHT_REL || entries.header.sh_info >= file.sections.size()) {
      continue;
    }
    ElfFile::Section& target = file.sections[entries.header.sh_info];
    if ((target.header.sh_flags & SHF_EXECINSTR) == 0) continue;
    for (size_t at = 0; at + sizeof(Elf64_Rel) <= entries.data.size(); at += sizeof(Elf64_Rel)) {
      Elf64_Rel entry;
      std::memcpy(&entry, entries.data.data() + at, sizeof entry);
      const uint64_t number = ELF64_R_SYM(entry.r_info);
      if (number >= symbols.size() || symbols[number].st_shndx != section) continue;
      if (entry.r_offset + sizeof(bpf_insn) > target.data.size()) continue;
      if (ELF64_ST_TYPE(symbols[number].st_info) != STT_SECTION) continue;
      bpf_insn insn;
      std::memcpy(&insn, target.data.data() + entry.r_offset, sizeof insn);
      const auto map =
          std::ranges::find(maps, static_cast<uint32_t>(insn.imm), &Definition::offset);
      if (map == maps.end()) continue;
      insn.imm = 0;
      std::memcpy(target.data.data() + entry.r_offset, &insn, sizeof insn);
      entry.r_info = ELF64_R_INFO(uint64_t{map->symbol}, ELF64_R_TYPE(entry.r_info));
      std::memcpy(entries.data.data() + at, &entry, sizeof entry);
    }
  }
}

// Older compilers leave symbols of maps without a type, and libbpf counts objects alone; it finds
// the variables of BTF among global symbols alone. They stand `base` bytes into `section` now.
void make_global_objects_of(ElfFile& file, const std::vector<Definition>& maps, uint32_t section,
                            uint32_t base) {
  std::vector<Elf64_Sym> symbols = file.symbols();
  for (const Definition& map : maps) {
    Elf64_Sym& symbol = symbols[map.symbol];
    symbol.st_shndx = static_cast<Elf64_Section>(section);
    symbol.st_value = base + map.offset;
    symbol.st_info = static_cast<unsigned char>(ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
    symbol.st_size = map.bytes;
  }
  file.set_symbols(symbols);
}

// Turns section `legacy` into `.maps`, or moves what it holds behind what `.maps` has.
Result<std::vector<Definition>> translate_maps(ElfFile& file, uint32_t legacy) {
  uint32_t btf_section = file.find(".BTF");
  BtfPointer types(nullptr, btf__free);
  if (btf_section != 0) {
    const std::vector<uint8_t>& raw = file.sections[btf_section].data;
    types.reset(btf__new(raw.data(), static_cast<uint32_t>(raw.size())));
    if (types == nullptr) return fail(ExitCode::bad_input, "its BTF is malformed");
  } else {
    types.reset(btf__new_empty());
    Elf64_Shdr header{};
    header.sh_type = SHT_PROGBITS;
    header.sh_addralign = 4;
    file.sections.push_back({".BTF", header, {}});
    btf_section = static_cast<uint32_t>(file.sections.size()) - 1;
  }
  auto maps = read_definitions(file, legacy, types.get());
  if (!maps) return maps;
  name_maps_in_relocations(file, legacy, *maps);
  uint32_t section = file.find(".maps");
  uint32_t base = 0;
  std::vector<Place> places;
  if (section == 0) {
    section = legacy;
    file.sections[section].name = ".maps";
  } else {
    places = places_in(file, section, types.get());
    std::vector<uint8_t>& whole = file.sections[section].data;
    whole.resize((whole.size() + kPointerBytes - 1) / kPointerBytes * kPointerBytes);
    base = static_cast<uint32_t>(whole.size());
    const std::vector<uint8_t>& moved = file.sections[legacy].data;
    whole.insert(whole.end(), moved.begin(), moved.end());
    file.sections[legacy].name = ".moved_maps";
  }
  make_global_objects_of(file, *maps, section, base);
  describe_section(types.get(), *maps, std::move(places), base,
                   static_cast<uint32_t>(file.sections[section].data.size()));
  uint32_t size = 0;
  const auto* raw = static_cast<const uint8_t*>(btf__raw_data(types.get(), &size));
  if (raw == nullptr) return fail(ExitCode::bad_input, "its BTF cannot be written");
  file.sections[btf_section].data.assign(raw, raw + size);
  return maps;
}

}  // namespace

Result<TranslatedObject> translate_legacy_object(std::span<const uint8_t> bytes) {
  TranslatedObject done;
  auto file = ElfFile::parse(bytes);
  if (!file) {
    // libbpf knows other words for what is no ELF file at all, and big-endian ones.
    done.file.assign(bytes.begin(), bytes.end());
    return done;
  }
  if (file->header.e_machine == EM_NONE) {
    file->header.e_machine = kMachineBpf;
    done.changed = true;
  }
  if (auto dropped = drop_addends(*file, done.changed); !dropped) {
    return tl::unexpected(dropped.error());
  }
  if (const uint32_t section = file->find("maps"); section != 0) {
    auto maps = translate_maps(*file, section);
    if (!maps) return tl::unexpected(maps.error());
    for (Definition& map : *maps) done.maps.push_back(std::move(map.legacy));
    done.changed = true;
  }
  if (done.changed) {
    done.file = file->write();
  } else {
    done.file.assign(bytes.begin(), bytes.end());
  }
  return done;
}

}  // namespace xnic::vm
