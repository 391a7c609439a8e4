#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vm/result.h"

namespace xnic::sim {

// Wide enough for every integer of a map, __int128 included.
__extension__ typedef unsigned __int128 Bits128;

// A JSON value as the file has it: members stay in order, and names may repeat, for bpftool gives
// every anonymous struct member the name "".
struct JsonValue {
  enum class Kind : uint8_t { null, boolean, integer, real, text, list, object };

  Kind kind = Kind::null;
  bool negative = false;                // of an integer
  uint64_t number = 0;                  // boolean; integer, as two's complement where negative
  std::string text = {};                // of a text; of a real, as it was written
  std::vector<JsonValue> items = {};    // of a list; of an object the values
  std::vector<std::string> names = {};  // of an object, one for each item

  bool is(Kind other) const { return kind == other; }
  // "a number", "a list of 3", ...: for sentences.
  std::string described() const;
};

// The value of "0x" and 1 to 32 hexadecimal digits; nothing for any other text.
std::optional<Bits128> parse_hex(std::string_view text);

// `text` between quotation marks as JSON writes it, whatever bytes it holds.
std::string json_quote(std::string_view text);

// Takes one entry; answers what is wrong with it, nothing if it is fine.
using EntrySink = std::function<std::string(const JsonValue& entry)>;

// Gives the entries of a map dump one by one: those of the outermost list, or of the list named
// "elements" in the outermost object. Bare hexadecimal numbers, which bpftool's plain output has,
// are taken for quoted ones. Any bytes may come in. An error names `path` with line and column
// (bad JSON) or with the entry's number from 1 (an answer of the sink), and ends the walk.
Result<void> parse_entries(std::string_view text, const std::string& path, const EntrySink& sink);

}  // namespace xnic::sim
