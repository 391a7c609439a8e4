// Test: tests/vm/trace_format_test.cpp, tests/bpf/text.
#include "vm/probe_read.h"

#include <sys/uio.h>
#include <unistd.h>

#include <bit>

namespace xnic::vm {

size_t probe_read(void* to, uint64_t address, size_t size) {
  iovec local{to, size};
  iovec remote{std::bit_cast<void*>(address), size};
  const ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
  return got < 0 ? 0 : static_cast<size_t>(got);
}

std::string probe_read_string(uint64_t address, size_t limit, bool* mapped) {
  std::string text;
  if (mapped != nullptr) *mapped = true;
  while (text.size() < limit) {
    char byte = 0;
    const bool read = probe_read(&byte, address + text.size(), 1) == 1;
    if (!read && mapped != nullptr) *mapped = false;
    if (!read || byte == 0) break;
    text.push_back(byte);
  }
  return text;
}

}  // namespace xnic::vm
