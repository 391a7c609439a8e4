#pragma once

#include <linux/bpf.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "vm/hook.h"

namespace xnic::vm {

// What the name of an ELF section says of the programs in it: one row for each name, as libbpf 1.5
// has them, and as libbpf before 1.0 and iproute2 had them. The first row that matches counts.
struct Section {
  enum class Match : uint8_t {
    exact,   // the name alone
    folder,  // the name, or the name, a slash and anything
    start,   // whatever begins with the name: how libbpf before 1.0 matched
  };
  std::string_view name;
  Match match;
  bpf_prog_type type;
  uint32_t attach_type;  // BPF_PROG_LOAD's expected_attach_type
  bool frags;            // multi-buffer XDP
  std::optional<HookPoint> hook;
};

std::span<const Section> sections();
// The row for a section; null if its name says nothing. A '?' in front does not count.
const Section* find_section(std::string_view name);

}  // namespace xnic::vm
