#pragma once

#include <fcntl.h>
#include <linux/bpf.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "vm/object_fd.h"

// How the commands of bpf(2) read what the caller points at, and answer into it.
namespace xnic::vm {

template <class T>
T* user_pointer(uint64_t address) {
  return std::bit_cast<T*>(address);
}

// Copies a name out of its field: letters, digits, '_' and '.', ended by a zero byte; else -EINVAL.
int copy_name(const char* field, size_t size, std::string& name);

// The answer to a descriptor that is closed, or one of something else than was asked for.
inline int wrong_descriptor(uint32_t fd) {
  return file_id(static_cast<int>(fd)) == FileId{} ? -EBADF : -EINVAL;
}

// Whether a descriptor was opened for reading, or for writing.
inline bool may_access(uint32_t fd, bool write) {
  const int flags = fcntl(static_cast<int>(fd), F_GETFL) & O_ACCMODE;
  return flags == O_RDWR || flags == (write ? O_WRONLY : O_RDONLY);
}

// Copies an info struct in, as long as the caller has one; what the caller has beyond must be zero.
template <class Info>
int copy_info_in(const bpf_attr& attr, Info& info) {
  const auto* in = user_pointer<const uint8_t>(attr.info.info);
  if (in == nullptr) return -EFAULT;
  const uint32_t room = attr.info.info_len;
  const auto not_zero = [](uint8_t byte) { return byte != 0; };
  if (room > sizeof(Info) && std::any_of(in + sizeof(Info), in + room, not_zero)) return -E2BIG;
  std::memcpy(&info, in, std::min<size_t>(room, sizeof(Info)));
  return 0;
}

// Copies an info struct out, as long as the caller has room for it; what the caller has beyond
// must be zero.
template <class Info>
int copy_info_out(bpf_attr& attr, const Info& info) {
  auto* out = user_pointer<uint8_t>(attr.info.info);
  Info ignored;
  if (const int error = copy_info_in(attr, ignored); error != 0) return error;
  const auto length = static_cast<uint32_t>(std::min<size_t>(attr.info.info_len, sizeof(Info)));
  std::memcpy(out, &info, length);
  attr.info.info_len = length;
  return 0;
}

// Copies the records that the caller has room for. `count` is what it has room for, then what
// there is.
template <class Record>
int copy_records_out(uint64_t address, uint32_t& count, const Record* records, size_t size) {
  const size_t room = std::min<size_t>(count, size);
  count = static_cast<uint32_t>(size);
  if (room == 0) return 0;
  if (address == 0) return -EFAULT;
  std::memcpy(user_pointer<void>(address), records, room * sizeof(Record));
  return 0;
}

template <size_t N>
void fill_name(char (&field)[N], const std::string& name) {
  name.copy(field, N - 1);
}

}  // namespace xnic::vm
