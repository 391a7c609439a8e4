#include <array>

#include "sim/commands/command.h"

namespace xnic::sim {

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"run", "replay a capture through XDP and tc programs on the emulated SmartNIC",
              run_command},
  };
  return kCommands;
}

}  // namespace xnic::sim
