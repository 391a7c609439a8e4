// Left out: source lines of what does not load.
#include "sim/disassembly.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <span>

#include "jit/code_listing.h"
#include "vm/btf.h"
#include "vm/disassembler.h"
#include "vm/isa.h"

namespace xnic::sim {
namespace {

struct SourceLine {
  std::string_view text;
  std::string_view file;
  uint32_t line;
};

std::optional<SourceLine> source_of(const ListedProgram& program, uint32_t index) {
  if (program.loaded == nullptr || program.loaded->spec().btf == nullptr) return std::nullopt;
  const vm::ProgramSpec& spec = program.loaded->spec();
  const auto line = std::ranges::find(spec.lines, index, &bpf_line_info::insn_off);
  if (line == spec.lines.end()) return std::nullopt;
  std::string_view text = spec.btf->string_at(line->line_off);
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::string_view file = spec.btf->string_at(line->file_name_off);
  if (const size_t slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  if (text.empty() && file.empty()) return std::nullopt;
  return SourceLine{text, file, BPF_LINE_INFO_LINE_NUM(line->line_col)};
}

// What stands in front of an instruction: the function that begins there, its source line.
std::string heading(const ListedProgram& program, uint32_t index) {
  std::string text;
  if (program.loaded != nullptr) {
    for (const vm::Subprogram& part : program.loaded->subprograms()) {
      if (part.start == index) text += part.name + ":\n";
    }
  }
  if (const auto source = source_of(program, index)) {
    text += fmt::format("; {:<70} {}:{}\n", source->text, source->file, source->line);
  }
  return text;
}

std::string text_of(const ListedProgram& program, uint32_t index) {
  return program.loaded != nullptr ? vm::disassemble(*program.loaded, index)
                                   : vm::disassemble(program.instructions, index);
}

Json instruction_json(const ListedProgram& program, uint32_t index) {
  Json json = {{"index", index}, {"text", text_of(program, index)}};
  if (const auto source = source_of(program, index)) {
    json["source"] = {{"text", source->text}, {"file", source->file}, {"line", source->line}};
  }
  return json;
}

Result<jit::CodeListing> code_of(const ListedProgram& program, const jit::JitOptions& options) {
  if (program.loaded == nullptr) {
    return fail(ExitCode::program_rejected,
                "program {}: there is machine code only of objects that load; xnic verify says why "
                "this one does not",
                program.name);
  }
  return jit::list_code(*program.loaded, options);
}

// The columns beside each other, as often as either has something.
class Columns {
 public:
  Columns(const ListedProgram& program, const jit::CodeListing& listing)
      : program_(program), listing_(listing) {}

  std::string text() {
    uint32_t at = 0;
    for (const jit::ListedCode& part : listing_.parts) {
      unreached(at, part.first);
      code_ = part.code;
      if (part.first == part.end) label();
      for (uint32_t i = part.first; i < part.end; i += vm::slots(program_.instructions[i])) {
        text_ += heading(program_, i);
        row(fmt::format("{:6}: {}", i, text_of(program_, i)));
      }
      while (!code_.empty()) row("");
      at = part.end;
    }
    unreached(at, static_cast<uint32_t>(program_.instructions.size()));
    return std::move(text_);
  }

 private:
  static constexpr size_t kBytesShown = 10;

  // What a function begins with, or keeps behind its end, if there is any.
  void label() {
    in_function_ = !in_function_;
    if (!code_.empty()) row(in_function_ ? "        (begin)" : "        (end)");
  }

  void unreached(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i += vm::slots(program_.instructions[i])) {
      text_ += heading(program_, i);
      text_ += fmt::format("{:6}: {:<44} (never reached)\n", i, text_of(program_, i));
    }
  }

  void row(const std::string& left) {
    if (code_.empty()) {
      text_ += left + "\n";
      return;
    }
    const jit::HostInstruction& one = code_.front();
    const std::span<const uint8_t> bytes(listing_.bytes.data() + one.offset, one.size);
    text_ += fmt::format("{:<52} {:5x}  {:<{}} {}\n", left, one.offset,
                         fmt::format("{:02x}", fmt::join(bytes, " ")), 3 * kBytesShown, one.text);
    code_ = code_.subspan(1);
  }

  const ListedProgram& program_;
  const jit::CodeListing& listing_;
  std::span<const jit::HostInstruction> code_;  // of the part, not shown yet
  bool in_function_ = false;
  std::string text_;
};

}  // namespace

std::string disassembly(const ListedProgram& program) {
  std::string text;
  for (uint32_t i = 0; i < program.instructions.size(); i += vm::slots(program.instructions[i])) {
    text += heading(program, i) + fmt::format("{:6}: {}\n", i, text_of(program, i));
  }
  return text;
}

Result<std::string> disassembly_beside_code(const ListedProgram& program,
                                            const jit::JitOptions& options) {
  return code_of(program, options).map([&](const jit::CodeListing& listing) {
    return Columns(program, listing).text();
  });
}

Json disassembly_json(const ListedProgram& program) {
  Json all = Json::array();
  for (uint32_t i = 0; i < program.instructions.size(); i += vm::slots(program.instructions[i])) {
    all.push_back(instruction_json(program, i));
  }
  return all;
}

Result<Json> code_json(const ListedProgram& program, const jit::JitOptions& options) {
  const auto listing = code_of(program, options);
  if (!listing) return tl::unexpected(listing.error());
  Json parts = Json::array();
  for (const jit::ListedCode& part : listing->parts) {
    Json instructions = Json::array();
    for (uint32_t i = part.first; i < part.end; i += vm::slots(program.instructions[i])) {
      instructions.push_back(instruction_json(program, i));
    }
    Json code = Json::array();
    for (const jit::HostInstruction& one : part.code) {
      const std::span<const uint8_t> bytes(listing->bytes.data() + one.offset, one.size);
      code.push_back({{"offset", one.offset},
                      {"bytes", fmt::format("{:02x}", fmt::join(bytes, ""))},
                      {"text", one.text}});
    }
    parts.push_back({{"instructions", std::move(instructions)}, {"code", std::move(code)}});
  }
  return parts;
}

}  // namespace xnic::sim
