#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vm/code_place.h"
#include "vm/proof.h"

namespace xnic::vm {

// What kind of fault a program was refused for. Each has a row in kCategories (vm/rejection.cpp).
enum class Category : uint8_t {
  uninitialised_register,
  packet_access,
  map_value_access,
  memory_access,
  stack_access,
  context_access,
  null_pointer,
  pointer_use,
  read_only,
  alignment,
  helper_argument,
  return_value,
  loop,
  call_stack,
  reference_leak,
  lock,
  not_allowed,
  not_supported,
  malformed,
  other,
};

struct CategoryRow {
  Category category;
  std::string_view name;   // in JSON: "packet_access"
  std::string_view title;  // "packet access out of bounds"
};
std::span<const CategoryRow> categories();
const CategoryRow& row_of(Category category);

// The category by the verifier's words, which are Linux's: so those of a real kernel's log have one
// as well. Words that no row knows are Category::other. Test: tests/vm/rejection_test.cpp.
Category category_of(std::string_view words);

// One decision on the path to a refusal.
struct PathStep {
  enum class Way : uint8_t {
    jumps,    // a conditional jump is taken
    goes_on,  // it is not
    calls,    // a function of the program is called
  };
  CodePlace at;
  Way way = Way::jumps;
  CodePlace to;        // where the path goes on
  uint64_t times = 1;  // that the path came here and went this way; the last time counts for order
};

// A program that is refused. The text in `message` is what bpf(2) writes into the log, the rest
// says the same for people.
struct Rejection {
  int error = 0;        // -errno, as BPF_PROG_LOAD returns it
  std::string message;  // the verifier log, its last line without an end
  Category category = Category::other;
  std::optional<CodePlace> place;  // none where the whole program is meant
  std::string said;                // in Linux's words, without the log
  std::string reason;              // a sentence
  std::vector<PathStep> path;      // from the start; empty where no path was followed
  std::string suggestion;          // empty where no common mistake is recognised
  VerifierStatistics statistics;
};

// The same as a text of several lines: category, place, reason, path, suggestion. Of a long path
// only the end is shown. Without an end of line behind it.
std::string words_of(const Rejection& rejection);
// "packet access out of bounds at fw.c:34:7"
std::string headline_of(const Rejection& rejection);

// What the verifier of a Kernel said of one program.
struct Judgement {
  std::optional<Rejection> rejection;
  VerifierStatistics statistics;
  std::string log;
};

}  // namespace xnic::vm
