// Profiles of cards.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "nic/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  (void)xnic::nic::parse_profile({reinterpret_cast<const char*>(bytes), size}, "profile.toml");
  return 0;
}
