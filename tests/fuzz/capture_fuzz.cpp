// Captures of arbitrary bytes: every record lies in memory that may be read, and reading ends. The
// first byte says whether there is a filter, without which plain pcap files take a way of their
// own.
#include "tests/fuzz/file_of_bytes.h"
#include "traces/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace xnic;
  if (size == 0) return 0;
  const test::FileOfBytes file(".pcap", {bytes + 1, size - 1});
  auto reader = traces::Reader::open(file.path(), bytes[0] % 2 == 0 ? "" : "ip or ip6");
  if (!reader) return 0;
  traces::Record record;
  volatile uint32_t sum = 0;
  while (true) {
    const auto more = (*reader)->next(record);
    if (!more || !*more) return 0;
    for (const uint8_t byte : record.bytes) sum = sum + byte;
  }
}
