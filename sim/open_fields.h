#pragma once

#include <map>
#include <string>
#include <string_view>

#include "sim/kernel_side.h"
#include "sim/run_answer.h"

namespace xnic::sim {

// Which parts of a program's answers, or of a map, Linux leaves open: learnt from runs that had
// the same input and yet came out differently, since only the time, the random numbers or the
// kernel's own choices were other ones. Numbers are open as a whole, bytes one by one.
class OpenFields {
 public:
  // `reason` says what was other in the two runs.
  void learn(const RunAnswer& one, const RunAnswer& other, std::string_view reason);
  void learn(const MapContents& one, const MapContents& other, std::string_view reason);

  // Why the difference between two answers may be; empty if nothing excuses it. One in bytes is
  // moved to the first byte that is not open, if there is any.
  std::string excuse(FieldDifference& difference, const RunAnswer& ours,
                     const RunAnswer& kernel) const;
  // The same of a key that only one map has, and of two values of a key: `offset` gets the first
  // byte that is not open, or else the first that differs.
  std::string excuse_key() const;
  std::string excuse_value(const Bytes& ours, const Bytes& kernel, size_t& offset) const;

 private:
  void learn_bytes(const std::string& field, const Bytes& one, const Bytes& other,
                   std::string_view reason);
  std::string excuse_number(const std::string& field) const;
  std::string excuse_bytes(const std::string& field, const Bytes& ours, const Bytes& kernel,
                           size_t& offset) const;

  std::map<std::string, std::string> numbers_;                  // reason by field
  std::map<std::string, std::map<size_t, std::string>> bytes_;  // reason by field and offset
};

}  // namespace xnic::sim
