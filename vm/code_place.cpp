#include "vm/code_place.h"

#include <fmt/format.h>

#include <string_view>

#include "vm/btf.h"
#include "vm/disassembler.h"

namespace xnic::vm {
namespace {

// Where the function that holds the instruction starts.
uint32_t function_start(const ProgramSpec& spec, uint32_t index) {
  uint32_t start = 0;
  for (const bpf_func_info& function : spec.functions) {
    if (function.insn_off <= index && function.insn_off > start) start = function.insn_off;
  }
  return start;
}

const bpf_line_info* line_of(const ProgramSpec& spec, uint32_t index) {
  const uint32_t start = function_start(spec, index);
  const bpf_line_info* found = nullptr;
  for (const bpf_line_info& line : spec.lines) {
    if (line.insn_off > index || line.insn_off < start ||
        BPF_LINE_INFO_LINE_NUM(line.line_col) == 0)
      continue;
    if (found == nullptr || line.insn_off >= found->insn_off) found = &line;
  }
  return found;
}

// Without blanks around it, and with one space for several blanks inside.
std::string trimmed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!blank) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

}  // namespace

CodePlace place_of(const ProgramSpec& spec, uint32_t index, std::string disassembly) {
  CodePlace place{.instruction = index,
                  .disassembly = std::move(disassembly),
                  .file = {},
                  .line = 0,
                  .column = 0,
                  .text = {}};
  if (spec.btf == nullptr) return place;
  const bpf_line_info* line = line_of(spec, index);
  if (line == nullptr) return place;
  place.file = spec.btf->string_at(line->file_name_off);
  place.line = BPF_LINE_INFO_LINE_NUM(line->line_col);
  place.column = BPF_LINE_INFO_LINE_COL(line->line_col);
  place.text = trimmed(spec.btf->string_at(line->line_off));
  return place;
}

CodePlace place_of(const Program& program, uint32_t index) {
  const bool exists = index < program.instructions().size();
  return place_of(program.spec(), index, exists ? disassemble(program, index) : std::string());
}

std::string short_place(const CodePlace& place) {
  if (!place.has_line()) return fmt::format("instruction {}", place.instruction);
  std::string_view file = place.file;
  if (const size_t slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  if (place.column == 0) return fmt::format("{}:{}", file, place.line);
  return fmt::format("{}:{}:{}", file, place.line, place.column);
}

const std::string& text_of(const CodePlace& place) {
  return place.has_line() && !place.text.empty() ? place.text : place.disassembly;
}

}  // namespace xnic::vm
