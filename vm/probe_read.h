#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace xnic::vm {

// Reads this process's memory as the kernel's probe reads do: bytes that are not mapped end the
// read instead of the process. Gives the number of bytes read.
size_t probe_read(void* to, uint64_t address, size_t size);

// The text at the address, up to its NUL, the first byte that is not mapped, or `limit` bytes.
// Nothing tells an empty text from an address that leads nowhere but `mapped`, if given.
std::string probe_read_string(uint64_t address, size_t limit, bool* mapped = nullptr);

}  // namespace xnic::vm
