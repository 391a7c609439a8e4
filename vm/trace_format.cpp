// The formats of bpf_trace_printk: %d %i %u %x %X with l and ll, %p, %px, %pK, %s, %ps, %pks, %c,
// %pi4 %pI4 %pi6 %pI6 and %%, with the flags "0+- " and a width. Left out: kernel symbols (%pS and
// %pB print the bare address). Test: tests/vm/trace_format_test.cpp.
#include <arpa/inet.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "vm/probe_read.h"
#include "vm/trace_format.h"

namespace xnic::vm {
namespace {

constexpr size_t kLongestLine = kTraceRoom;

std::string pad(std::string text, std::string_view flags, size_t width) {
  if (text.size() >= width) return text;
  const size_t fill = width - text.size();
  if (flags.find('-') != std::string_view::npos) return text + std::string(fill, ' ');
  return std::string(fill, ' ') + text;
}

std::string ip_address(uint64_t address, bool plain, bool v6) {
  std::array<uint8_t, 16> raw{};
  if (probe_read(raw.data(), address, v6 ? 16 : 4) != (v6 ? 16u : 4u)) raw.fill(0);
  if (!v6) {
    // %pi4 keeps leading zeros: 010.001.000.007.
    return plain ? fmt::format("{}.{}.{}.{}", raw[0], raw[1], raw[2], raw[3])
                 : fmt::format("{:03}.{:03}.{:03}.{:03}", raw[0], raw[1], raw[2], raw[3]);
  }
  std::string text;
  for (size_t i = 0; i < 16; i += 2) {
    text += fmt::format("{:02x}{:02x}", raw[i], raw[i + 1]);
    if (plain && i < 14) text += ':';
  }
  return text;
}

std::string number(uint64_t value, char conversion, int longs, std::string_view flags,
                   size_t width) {
  std::string digits;
  bool negative = false;
  if (conversion == 'd' || conversion == 'i') {
    const int64_t v = longs == 0 ? static_cast<int32_t>(value) : static_cast<int64_t>(value);
    negative = v < 0;
    digits = fmt::format("{}", negative ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v));
  } else {
    const uint64_t v = longs == 0 ? static_cast<uint32_t>(value) : value;
    digits = conversion == 'u'   ? fmt::format("{}", v)
             : conversion == 'x' ? fmt::format("{:x}", v)
                                 : fmt::format("{:X}", v);
  }
  std::string sign;
  if (negative) {
    sign = "-";
  } else if (conversion == 'd' || conversion == 'i') {
    if (flags.find('+') != std::string_view::npos) {
      sign = "+";
    } else if (flags.find(' ') != std::string_view::npos) {
      sign = " ";
    }
  }
  const bool zeros =
      flags.find('0') != std::string_view::npos && flags.find('-') == std::string_view::npos;
  if (zeros && sign.size() + digits.size() < width) {
    digits.insert(0, width - sign.size() - digits.size(), '0');
  }
  return pad(sign + digits, flags, width);
}

bool ends_conversion(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return c == 0 || std::isspace(byte) || std::ispunct(byte);
}

}  // namespace

int format_trace(std::string& text, std::string_view format, std::span<const uint64_t> arguments,
                 size_t room) {
  const auto at = [&](size_t i) { return i < format.size() ? format[i] : '\0'; };
  size_t used = 0;
  for (size_t i = 0; i < format.size(); i++) {
    const auto byte = static_cast<unsigned char>(format[i]);
    if (byte < 0x80 && !std::isprint(byte) && !std::isspace(byte)) return -EINVAL;
    if (format[i] != '%') {
      text.push_back(format[i]);
      continue;
    }
    if (at(i + 1) == '%') {
      text.push_back('%');
      i++;
      continue;
    }
    if (used >= arguments.size()) return -EINVAL;
    i++;
    const size_t flags_at = i;
    while (at(i) == '0' || at(i) == '+' || at(i) == '-' || at(i) == ' ') i++;
    const std::string_view flags = format.substr(std::min(flags_at, format.size()), i - flags_at);
    size_t width = 0;
    while (at(i) >= '0' && at(i) <= '9') {
      width = std::min<size_t>(width * 10 + static_cast<size_t>(at(i) - '0'), kLongestLine);
      i++;
    }
    const uint64_t argument = arguments[used];
    if (at(i) == 'p') {
      const char kind = at(i + 1);
      if (ends_conversion(kind)) {
        text += pad(fmt::format("{:016x}", argument), flags, width);
      } else if ((kind == 'k' || kind == 'u') && at(i + 2) == 's') {
        i += 2;
        if (!ends_conversion(at(i + 1))) return -EINVAL;
        text += pad(probe_read_string(argument, kLongestLine), flags, width);
      } else if (kind == 'K' || kind == 'x' || kind == 's' || kind == 'S' || kind == 'B') {
        i++;
        const bool symbol = kind == 's' || kind == 'S' || kind == 'B';
        text += pad(symbol ? fmt::format("{:#x}", argument) : fmt::format("{:016x}", argument),
                    flags, width);
        // Letters behind the kind belong to it, without a meaning.
        while (std::isalnum(static_cast<unsigned char>(at(i + 1))) != 0) i++;
      } else if ((kind == 'i' || kind == 'I') && (at(i + 2) == '4' || at(i + 2) == '6')) {
        i += 2;
        // Linux does not even count an address for which there is no room at all.
        if (text.size() < room) {
          text += pad(ip_address(argument, kind == 'I', at(i) == '6'), flags, width);
        }
      } else {
        return -EINVAL;
      }
    } else if (at(i) == 's') {
      if (!ends_conversion(at(i + 1))) return -EINVAL;
      text += pad(probe_read_string(argument, kLongestLine), flags, width);
    } else if (at(i) == 'c') {
      text += pad(std::string(1, static_cast<char>(argument)), flags, width);
    } else {
      int longs = 0;
      while (longs < 2 && at(i) == 'l') {
        longs++;
        i++;
      }
      const char conversion = at(i);
      if (std::string_view("diuxX").find(conversion) == std::string_view::npos || conversion == 0) {
        return -EINVAL;
      }
      text += number(argument, conversion, longs, flags, width);
    }
    used++;
  }
  const auto length = static_cast<int>(text.size());
  if (text.size() >= room) text.resize(room == 0 ? 0 : room - 1);
  return length;
}

}  // namespace xnic::vm
