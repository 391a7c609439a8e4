#include "vm/program.h"

#include <fmt/format.h>

#include <string_view>

#include "vm/btf.h"
#include "vm/disassembler.h"

namespace xnic::vm {
namespace {

// " at fw.c:34" by the last line info at or before the instruction; empty without one.
std::string source_line(const ProgramSpec& spec, uint32_t index) {
  if (spec.btf == nullptr) return {};
  const bpf_line_info* found = nullptr;
  for (const bpf_line_info& line : spec.lines) {
    if (line.insn_off <= index && (found == nullptr || line.insn_off >= found->insn_off)) {
      found = &line;
    }
  }
  if (found == nullptr) return {};
  std::string_view file = spec.btf->string_at(found->file_name_off);
  if (file.empty()) return {};
  if (const size_t slash = file.rfind('/'); slash != file.npos) file.remove_prefix(slash + 1);
  return fmt::format(" at {}:{}", file, BPF_LINE_INFO_LINE_NUM(found->line_col));
}

}  // namespace

std::string describe_instruction(const Program& program, uint32_t index) {
  if (index >= program.instructions().size()) return fmt::format("instruction {}", index);
  return fmt::format("instruction {} ({}){}", index, disassemble(program, index),
                     source_line(program.spec(), index));
}

}  // namespace xnic::vm
