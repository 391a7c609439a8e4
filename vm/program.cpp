#include "vm/program.h"

#include <fmt/format.h>

#include "vm/code_place.h"

namespace xnic::vm {

std::string describe_instruction(const Program& program, uint32_t index) {
  if (index >= program.instructions().size()) return fmt::format("instruction {}", index);
  const CodePlace place = place_of(program, index);
  return fmt::format("instruction {} ({}){}", index, place.disassembly,
                     place.has_line() ? " at " + short_place(place) : "");
}

}  // namespace xnic::vm
