#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "nic/port.h"
#include "sim/json.h"
#include "sim/line.h"

namespace xnic::sim {

// What the threads of a line did between two looks.
struct LineSpan {
  double seconds = 0;
  std::vector<LineCount> threads{};
  std::map<std::string_view, uint64_t> verdicts{};  // as Line::verdicts() has them

  LineCount all() const;
};

// Looks at a line now and then.
class LineWatch {
 public:
  explicit LineWatch(Line& line) : line_(line), before_(line.threads()) {}
  // Since the look before, or the start.
  LineSpan look();

 private:
  Line& line_;
  std::vector<LineCount> before_;
  std::map<std::string_view, uint64_t> verdicts_before_;
  uint64_t then_ns_ = 0;
};

Json to_json(const LineCount& count, double seconds);
Json to_json(const LineSpan& span);
Json to_json(const nic::Port& port);
// One line for people: rates, and of each thread cycles a packet and idle share.
std::string to_line(const LineSpan& span);

}  // namespace xnic::sim
