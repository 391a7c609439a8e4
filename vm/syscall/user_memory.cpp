#include "vm/syscall/user_memory.h"

#include <cctype>

namespace xnic::vm {
namespace {

// Linux takes a byte for a letter by its meaning in Latin-1.
bool is_letter_or_digit(unsigned char c) {
  constexpr unsigned char kTimes = 0xd7;
  constexpr unsigned char kDivision = 0xf7;
  return c < 0x80 ? std::isalnum(c) != 0 : c >= 0xc0 && c != kTimes && c != kDivision;
}

}  // namespace

int copy_name(const char* field, size_t size, std::string& name) {
  const auto* end = static_cast<const char*>(std::memchr(field, 0, size));
  if (end == nullptr) return -EINVAL;
  name.assign(field, end);
  const bool good = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return is_letter_or_digit(c) || c == '_' || c == '.';
  });
  return good ? 0 : -EINVAL;
}

}  // namespace xnic::vm
