// Map dumps as JSON, one entry in memory at a time. Reading is nlohmann's SAX parser, which needs
// no stack for nesting; what is kept of it is bounded by kMaxDepth. What it leaves out: bpftool's
// plain output of maps without BTF ("key: 01 value: 02"), which is no JSON and is refused with the
// command to use; columns are those of the text with bare hexadecimal numbers quoted. Test:
// tests/sim/map_file_test.cpp.
#include "sim/map_json.h"

#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace xnic::sim {
namespace {

using nlohmann::json;
using Kind = JsonValue::Kind;

// Deeper than any BTF type that a map value of a real program has.
constexpr size_t kMaxDepth = 64;

class EntryReader : public nlohmann::json_sax<json> {
 public:
  EntryReader(const std::string& path, const EntrySink& sink) : path_(path), sink_(sink) {}

  bool null() override { return scalar({}); }
  bool boolean(bool value) override { return scalar({.kind = Kind::boolean, .number = value}); }
  bool number_integer(number_integer_t value) override {
    return scalar(
        {.kind = Kind::integer, .negative = value < 0, .number = static_cast<uint64_t>(value)});
  }
  bool number_unsigned(number_unsigned_t value) override {
    return scalar({.kind = Kind::integer, .number = value});
  }
  bool number_float(number_float_t, const string_t& written) override {
    return scalar({.kind = Kind::real, .text = written});
  }
  bool string(string_t& value) override {
    return scalar({.kind = Kind::text, .text = std::move(value)});
  }
  bool binary(binary_t&) override { return scalar({}); }
  bool start_object(size_t) override { return open(Kind::object); }
  bool start_array(size_t) override { return open(Kind::list); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (!path_to_value_.empty())
      path_to_value_.back()->names.push_back(std::move(name));
    else
      outer_name_ = std::move(name);
    return true;
  }

  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view what = error.what();
    if (const size_t id_end = what.find("] "); id_end != what.npos) what.remove_prefix(id_end + 2);
    constexpr std::string_view kLead = "parse error at ";
    if (what.starts_with(kLead)) what.remove_prefix(kLead.size());
    return refuse(fmt::format("{}: {}.", path_, what));
  }

  bool found() const { return found_; }
  const std::string& error() const { return error_; }

 private:
  bool refuse(std::string sentence) {
    error_ = std::move(sentence);
    return false;
  }

  // Where the next value goes, inside an entry or as an entry of its own.
  JsonValue& place(JsonValue value) {
    if (path_to_value_.empty()) return entry_ = std::move(value);
    auto& siblings = path_to_value_.back()->items;
    siblings.push_back(std::move(value));
    return siblings.back();
  }

  bool scalar(JsonValue value) {
    if (list_depth_ == 0) return true;
    place(std::move(value));
    return !path_to_value_.empty() || deliver();
  }

  bool open(Kind kind) {
    if (++depth_ > kMaxDepth)
      return refuse(fmt::format("{}: Lists and objects are nested more than {} deep{}.", path_,
                                kMaxDepth,
                                count_ > 0 ? fmt::format(" after entry {}", count_) : ""));
    if (list_depth_ != 0) {
      path_to_value_.push_back(&place({.kind = kind}));
    } else if (kind == Kind::list &&
               (depth_ == 1 || (depth_ == 2 && outer_object_ && outer_name_ == "elements"))) {
      list_depth_ = depth_;
      found_ = true;
    } else if (depth_ == 1) {
      outer_object_ = true;
    }
    return true;
  }

  bool close() {
    const size_t closed = depth_--;
    if (closed == list_depth_) {
      list_depth_ = 0;
    } else if (!path_to_value_.empty()) {
      path_to_value_.pop_back();
      if (path_to_value_.empty()) return deliver();
    }
    return true;
  }

  bool deliver() {
    ++count_;
    const std::string problem = sink_(entry_);
    return problem.empty() || refuse(fmt::format("{}: entry {}: {}.", path_, count_, problem));
  }

  const std::string& path_;
  const EntrySink& sink_;
  size_t depth_ = 0;       // open lists and objects
  size_t list_depth_ = 0;  // depth of the list of entries while it is open
  bool outer_object_ = false;
  bool found_ = false;
  std::string outer_name_;
  JsonValue entry_;
  // The open containers from the entry inwards. Only the innermost gets items, so none moves.
  std::vector<JsonValue*> path_to_value_;
  uint64_t count_ = 0;
  std::string error_;
};

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Puts quotation marks around hexadecimal numbers that have none.
std::string quote_bare_hex(std::string_view text) {
  std::string result;
  result.reserve(text.size() + text.size() / 8);
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (inside && c == '\\' && i + 1 < text.size()) {
      result += c;
      result += text[++i];
    } else if (!inside && c == '0' && i + 1 < text.size() && text[i + 1] == 'x' &&
               (i == 0 || !is_word(text[i - 1]))) {
      size_t end = i;
      while (end < text.size() && is_word(text[end])) ++end;
      result += '"';
      result += text.substr(i, end - i);
      result += '"';
      i = end - 1;
    } else {
      if (c == '"') inside = !inside;
      result += c;
    }
  }
  return result;
}

}  // namespace

std::string JsonValue::described() const {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::boolean:
      return number != 0 ? "true" : "false";
    case Kind::integer:
      return negative ? fmt::format("{}", static_cast<int64_t>(number)) : fmt::format("{}", number);
    case Kind::real:
      return text.substr(0, 40);
    case Kind::text:
      return json_quote(text.substr(0, 40));
    case Kind::list:
      return fmt::format("a list of {}", items.size());
    case Kind::object:
      return "an object";
  }
  return "";
}

std::optional<Bits128> parse_hex(std::string_view text) {
  constexpr size_t kMaxDigits = 2 * sizeof(Bits128);
  if (!text.starts_with("0x") || text.size() < 3 || text.size() > 2 + kMaxDigits) return {};
  Bits128 value = 0;
  for (const char c : text.substr(2)) {
    uint32_t digit = 0;
    if (c >= '0' && c <= '9')
      digit = static_cast<uint32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      digit = static_cast<uint32_t>(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
      digit = static_cast<uint32_t>(c - 'A') + 10;
    else
      return {};
    value = value << 4 | digit;
  }
  return value;
}

std::string json_quote(std::string_view text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<void> parse_entries(std::string_view text, const std::string& path, const EntrySink& sink) {
  if (text.starts_with("key:") || text.starts_with("Found "))
    return fail(ExitCode::bad_input,
                "{}: This is bpftool's plain output, which is no JSON; record it again with "
                "bpftool -j map dump.",
                path);
  const std::string quoted = quote_bare_hex(text);
  EntryReader reader(path, sink);
  if (!json::sax_parse(quoted.begin(), quoted.end(), &reader))
    return tl::unexpected<Error>(Error{ExitCode::bad_input, reader.error()});
  if (!reader.found())
    return fail(ExitCode::bad_input,
                "{}: Expected a list of map entries, such as bpftool -j map dump writes.", path);
  return {};
}

}  // namespace xnic::sim
