#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Questions to BPF_PROG_TEST_RUN and its answers, as values that can be held against each other.
namespace xnic::sim {

using Bytes = std::vector<uint8_t>;

// What BPF_PROG_TEST_RUN is asked.
struct RunRequest {
  Bytes data;
  Bytes context = {};         // empty: none is given
  uint32_t context_room = 0;  // 0: none is wanted
  uint32_t data_room = 0x4000;
  bool wants_data = true;
  uint32_t flags = 0;  // BPF_F_TEST_*
  uint32_t repeat = 1;
};

// What it answers. Bytes that it leaves untouched, also some behind what it gives, hold a pattern,
// so that answers of two kernels can be compared whole.
struct RunAnswer {
  long error = 0;     // 0 or -errno
  uint32_t code = 0;  // r0
  uint32_t data_size = 0;
  Bytes data;
  uint32_t context_size = 0;
  Bytes context;
  bool operator==(const RunAnswer&) const = default;
};

// One field in which two answers differ. Bytes are shown in hexadecimal, 16 from the first that
// differs.
struct FieldDifference {
  std::string field;  // "errno", "return_code", "data_size", "data", "context_size", "context"
  std::optional<size_t> offset = {};  // of the first differing byte
  std::string ours;
  std::string kernel;
};

// The fields in which two answers differ. Where errno differs, that alone; of bytes whose sizes
// differ, both.
std::vector<FieldDifference> differences(const RunAnswer& ours, const RunAnswer& kernel);

// 16 bytes from `offset` on in hexadecimal, fewer where they end.
std::string shown_from(const Bytes& bytes, size_t offset);
size_t first_difference(const Bytes& a, const Bytes& b);

}  // namespace xnic::sim
