// Helpers for text: what goes to the trace, what is written to memory, what is read from it.
// What it leaves out: snprintf_btf.
// Test: tests/bpf/text, compared with Linux by tests/differential; tests/vm/trace_format_test.cpp.
#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "vm/helpers/rows.h"
#include "vm/trace_format.h"

namespace xnic::vm {
namespace {

constexpr size_t kMostArguments = 12;  // of trace_vprintk and snprintf

// Formats and traces; gives the length of the text, or -EINVAL.
uint64_t trace(Invocation& run, uint64_t format, uint64_t size,
               std::span<const uint64_t> arguments) {
  const auto* text = std::bit_cast<const char*>(format);
  const auto* end = static_cast<const char*>(std::memchr(text, 0, size));
  if (end == nullptr) return result(-EINVAL);
  std::string line;
  const int length = format_trace(line, {text, end}, arguments);
  if (length >= 0 && run.environment.trace) {
    if (line.ends_with('\n')) line.pop_back();
    run.environment.trace(line);
  }
  return result(length);
}

// The 64-bit numbers at an address, which need not be aligned; nothing for a size that is none of
// theirs or too many of them.
struct Numbers {
  std::array<uint64_t, kMostArguments> values{};
  size_t count = 0;

  static std::optional<Numbers> read(uint64_t address, uint64_t bytes) {
    if (bytes % sizeof(uint64_t) != 0 || bytes > sizeof(values)) return std::nullopt;
    Numbers numbers;
    numbers.count = bytes / sizeof(uint64_t);
    if (bytes != 0) std::memcpy(numbers.values.data(), bytes_at(address), bytes);
    return numbers;
  }
  std::span<const uint64_t> span() const { return std::span(values).first(count); }
};

uint64_t trace_printk(Invocation& run, uint64_t format, uint64_t size, uint64_t a, uint64_t b,
                      uint64_t c) {
  const std::array arguments{a, b, c};
  return trace(run, format, size, arguments);
}

uint64_t trace_vprintk(Invocation& run, uint64_t format, uint64_t size, uint64_t data,
                       uint64_t data_size, uint64_t) {
  const auto arguments = Numbers::read(data, data_size);
  return arguments ? trace(run, format, size, arguments->span()) : result(-EINVAL);
}

// Gives the bytes that the whole text with its NUL takes, however many there is room for.
uint64_t snprintf(Invocation&, uint64_t to, uint64_t size, uint64_t format, uint64_t data,
                  uint64_t data_size) {
  const auto arguments = Numbers::read(data, data_size);
  if (!arguments) return result(-EINVAL);
  std::string text;
  const int length =
      format_trace(text, std::bit_cast<const char*>(format), arguments->span(), size);
  if (length < 0) return result(length);
  if (size != 0) std::memcpy(memory_at(to), text.c_str(), text.size() + 1);
  return result(length + 1);
}

// A number at the start of a text, behind blanks and a minus.
struct ParsedNumber {
  uint64_t magnitude = 0;
  bool negative = false;
  int64_t used = 0;  // characters, or -EINVAL, -ERANGE
};

// As Linux has it: in Latin-1.
bool is_blank(uint8_t c) { return std::isspace(c) != 0 || c == 0xa0; }

// The base that the text itself shows, 0x or 0 in front; steps over 0x.
uint32_t base_of(std::string_view& text, uint32_t base) {
  const auto at = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const bool prefixed = at(0) == '0' && std::tolower(at(1)) == 'x';
  if (base == 0) {
    base = at(0) != '0' ? 10 : prefixed && std::isxdigit(at(2)) != 0 ? 16 : 8;
  }
  if (base == 16 && prefixed) text.remove_prefix(2);
  return base;
}

ParsedNumber parse_number(std::string_view text, uint64_t flags) {
  constexpr uint64_t kBaseMask = 0x1f;
  constexpr size_t kLongest = 63;
  const uint64_t asked = flags & kBaseMask;
  const bool known = asked == 0 || asked == 8 || asked == 10 || asked == 16;
  if (!known || (flags & ~kBaseMask) != 0) return {.used = -EINVAL};
  const std::string_view whole = text;
  while (!text.empty() && is_blank(static_cast<uint8_t>(text[0]))) text.remove_prefix(1);
  ParsedNumber number;
  number.negative = text.starts_with('-');
  if (number.negative) text.remove_prefix(1);
  if (text.empty()) return {.used = -EINVAL};
  text = text.substr(0, std::min(text.find('\0'), kLongest));
  const uint32_t base = base_of(text, static_cast<uint32_t>(asked));
  bool overflow = false;
  bool any = false;
  while (!text.empty()) {
    const auto c = static_cast<uint8_t>(std::tolower(static_cast<uint8_t>(text[0])));
    if (std::isxdigit(c) == 0) break;
    const uint32_t digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (digit >= base) break;
    overflow |= __builtin_mul_overflow(number.magnitude, uint64_t{base}, &number.magnitude);
    overflow |= __builtin_add_overflow(number.magnitude, uint64_t{digit}, &number.magnitude);
    any = true;
    text.remove_prefix(1);
  }
  number.used = overflow ? -ERANGE : !any ? -EINVAL : text.data() - whole.data();
  return number;
}

void store_number(uint64_t to, uint64_t value) {
  std::memcpy(memory_at(to), &value, sizeof(value));
}

std::string_view text_at(uint64_t address, uint64_t size) {
  return {std::bit_cast<const char*>(address), size};
}

uint64_t strtol(Invocation&, uint64_t text, uint64_t size, uint64_t flags, uint64_t to, uint64_t) {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  store_number(to, 0);  // before the text is read, which may lie there
  const ParsedNumber number = parse_number(text_at(text, size), flags);
  if (number.used < 0) return result(number.used);
  if (number.magnitude > kMost + (number.negative ? 1 : 0)) return result(-ERANGE);
  store_number(to, number.negative ? 0 - number.magnitude : number.magnitude);
  return result(number.used);
}

uint64_t strtoul(Invocation&, uint64_t text, uint64_t size, uint64_t flags, uint64_t to, uint64_t) {
  store_number(to, 0);
  const ParsedNumber number = parse_number(text_at(text, size), flags);
  if (number.used < 0) return result(number.used);
  if (number.negative) return result(-EINVAL);
  store_number(to, number.magnitude);
  return result(number.used);
}

// -1, 0 or 1.
uint64_t strncmp(Invocation&, uint64_t text, uint64_t size, uint64_t constant, uint64_t, uint64_t) {
  const int order =
      std::strncmp(std::bit_cast<const char*>(text), std::bit_cast<const char*>(constant), size);
  return result((order > 0) - (order < 0));
}

using A = Argument;
using R = Returns;
constexpr std::array kRows = {
    XNIC_HELPER(trace_printk, kAnyType, R::integer,
                {A::memory_read, A::size, A::any, A::any, A::any}, trace_printk, kGplOnly),
    XNIC_HELPER(trace_vprintk, kAnyType, R::integer,
                {A::memory_read, A::size, A::memory_read_or_null, A::size_or_zero}, trace_vprintk,
                kGplOnly),
    XNIC_HELPER(snprintf, kAnyType, R::integer,
                {A::memory_write_or_null, A::size_or_zero, A::const_string, A::memory_read_or_null,
                 A::size_or_zero},
                snprintf, kGplOnly),
    XNIC_HELPER(strtol, kAnyType, R::integer, {A::memory_read, A::size, A::any, A::u64_out},
                strtol),
    XNIC_HELPER(strtoul, kAnyType, R::integer, {A::memory_read, A::size, A::any, A::u64_out},
                strtoul),
    XNIC_HELPER(strncmp, kAnyType, R::integer, {A::memory_read, A::size, A::const_string}, strncmp),
};

}  // namespace

std::span<const Helper> text_helpers() { return kRows; }

}  // namespace xnic::vm
