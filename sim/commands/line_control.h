#pragma once

#include <string>
#include <vector>

#include "sim/commands/line_machine.h"
#include "sim/line.h"
#include "vm/result.h"

namespace xnic::sim {

// What other processes may ask of a line that runs, and have it do: maps read and written, programs
// listed and replaced, while packets flow. All of it is done by the thread that asks.
class LineControl {
 public:
  // Both must outlive it.
  LineControl(Line& line, LineMachine& machine) : line_(line), machine_(machine) {}

  // {"map", ...} as act_on_maps() takes them, {"prog", "show"}, {"prog", "replace", OBJECT} with
  // {"program", NAME} and {"at", HOOK} behind. Gives what is to be printed.
  Result<std::string> answer(const std::vector<std::string>& words);

 private:
  Result<std::string> show_programs() const;
  Result<std::string> replace(const std::vector<std::string>& words);

  Line& line_;
  LineMachine& machine_;
};

}  // namespace xnic::sim
