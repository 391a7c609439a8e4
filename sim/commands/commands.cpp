#include <array>

#include "sim/commands/command.h"

namespace xnic::sim {

std::span<const Command> commands() {
  static constexpr std::array kCommands = {
      Command{"run", "replay a capture through XDP and tc programs on the emulated SmartNIC",
              run_command},
      Command{"line", "run programs on DPDK ports at line rate, and measure them", line_command},
      Command{"doctor", "say what DPDK needs on this machine and does not find", doctor_command},
      Command{"diff", "run the same packets in the kernel of this machine, tell what differs",
              diff_command},
      Command{"bench",
              "measure nanoseconds a run of programs, here and in the kernel of this machine",
              bench_command},
      Command{"prog", "list the programs and maps of a BPF object", prog_command},
      Command{"disasm", "show the instructions of a BPF object and the machine code they become",
              disasm_command},
      Command{"verify", "judge the programs of a BPF object as Linux does, and say why",
              verify_command},
      Command{"nic", "list the profiles of cards, show all values of one", nic_command},
      Command{"map", "read and edit the maps that xnic run --dump-maps saved", map_command},
  };
  return kCommands;
}

}  // namespace xnic::sim
