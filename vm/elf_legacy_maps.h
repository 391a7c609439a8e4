#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vm/result.h"

namespace xnic::vm {

// What a legacy definition says that BTF cannot: how iproute2 places maps.
struct LegacyMap {
  std::string name;
  uint32_t id = 0;         // bpf_elf_map: others refer to it by this, 0 for none
  uint32_t pinning = 0;    // bpf_elf_map: 0 none, 1 per object, 2 global, else a named place
  uint32_t inner_id = 0;   // of a map-in-map: the id of the map whose kind its slots take
  int64_t inner_idx = -1;  // of an inner map: the slot of the map-in-map that it goes to
};

struct TranslatedObject {
  std::vector<uint8_t> file;  // what libbpf reads
  std::vector<LegacyMap> maps;
  bool changed = false;
};

// Makes an object as older tools wrote it into one that libbpf 1.x loads:
//  - `SEC("maps")` of struct bpf_map_def (of any length from 16 bytes on; the inner_map_idx of the
//    kernel's samples counts) or of iproute2's struct bpf_elf_map becomes `.maps` with BTF, which
//    is made where the object has none, or joins the `.maps` that the object has, too;
//  - relocations with addends (SHT_RELA) become ones without;
//  - machine EM_NONE becomes EM_BPF.
// An object that has nothing of it comes back as it was. Errors: a sentence without the file's
// name. Test: tests/vm/objects_test.cpp.
Result<TranslatedObject> translate_legacy_object(std::span<const uint8_t> file);

}  // namespace xnic::vm
