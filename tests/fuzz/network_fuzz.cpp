// Files of --net: the first byte says whether it is TOML or what `ip -j` prints.
#include "sim/net_file.h"
#include "tests/fuzz/file_of_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace xnic;
  if (size == 0) return 0;
  const test::FileOfBytes file(bytes[0] % 2 == 0 ? ".toml" : ".json", {bytes + 1, size - 1});
  (void)sim::read_network({file.path()});
  return 0;
}
