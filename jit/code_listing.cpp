// Translates once more, and reads the bytes back with Zydis, which knows nothing of how they were
// made. Addresses in them are those of this process.
// Test: tests/sim/disassembly_test.cpp.
#include "jit/code_listing.h"

#if XNIC_HAS_ZYDIS
#include <Zydis/Zydis.h>
#endif

#include <array>
#include <span>

#include "jit/compiler.h"

namespace xnic::jit {
namespace {

#if XNIC_HAS_ZYDIS
constexpr bool kHasDisassembler = true;

std::vector<HostInstruction> read(std::span<const uint8_t> bytes, uint64_t begin, uint64_t end) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  ZydisFormatter formatter;
  ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE,
                            ZYDIS_PADDING_DISABLED);
  ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
  std::vector<HostInstruction> all;
  while (begin < end) {
    ZydisDecodedInstruction one;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    std::array<char, 128> text{};
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes.data() + begin, end - begin, &one,
                                             operands.data())) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &one, operands.data(),
                                                      one.operand_count_visible, text.data(),
                                                      text.size(), begin, nullptr))) {
      all.push_back({begin, 1, "(no instruction)"});
      ++begin;
      continue;
    }
    all.push_back({begin, one.length, text.data()});
    begin += one.length;
  }
  return all;
}
#else
constexpr bool kHasDisassembler = false;

std::vector<HostInstruction> read(std::span<const uint8_t>, uint64_t, uint64_t) { return {}; }
#endif

}  // namespace

Result<CodeListing> list_code(const vm::Program& program, const JitOptions& options) {
  if (!kHasDisassembler) {
    return fail(ExitCode::not_available,
                "this xnic was built without libzydis-dev and cannot show machine code; install it "
                "and build again");
  }
  if (std::string why = objection(program); !why.empty()) {
    return fail(ExitCode::program_rejected, "{}; the interpreter runs it", why);
  }
  asmjit::CodeHolder code;
  if (code.init(asmjit::Environment::host()) != asmjit::kErrorOk) {
    return fail(ExitCode::not_available, "there is no machine code for this machine");
  }
  FunctionEntries functions;
  functions.program = &program;
  std::vector<CodePart> parts;
  if (auto done = translate(program, options, functions, code, &parts); !done) {
    return tl::unexpected(done.error());
  }
  const asmjit::CodeBuffer& buffer = code.textSection()->buffer();
  CodeListing listing{{buffer.begin(), buffer.end()}, {}};
  for (size_t i = 0; i < parts.size(); ++i) {
    const uint64_t end = i + 1 < parts.size() ? parts[i + 1].offset : listing.bytes.size();
    listing.parts.push_back(
        {parts[i].first, parts[i].end, read(listing.bytes, parts[i].offset, end)});
  }
  return listing;
}

}  // namespace xnic::jit
