// The merge of captures by time. It holds one record of each, so memory does not grow with them.
// It leaves out: clocks of capturing machines that differ.
// Test: tests/traces/merged_reader_test.cpp.
#include "traces/merged_reader.h"

#include <cassert>
#include <utility>

namespace xnic::traces {
namespace {

std::string all_paths(const std::vector<std::unique_ptr<Reader>>& readers) {
  std::string paths;
  for (const auto& reader : readers) {
    if (!paths.empty()) paths += ", ";
    paths += readers.size() == 1 ? reader->path() : reader->name();
  }
  return paths;
}

}  // namespace

MergedReader::MergedReader(std::vector<std::unique_ptr<Reader>> readers)
    : Reader(all_paths(readers), {}), readers_(std::move(readers)), heads_(readers_.size()) {
  assert(!readers_.empty());
}

Result<void> MergedReader::advance(size_t source) {
  Record record;
  const auto more = readers_[source]->next(record);
  if (!more) return tl::unexpected<Error>(more.error());
  record.source = static_cast<uint32_t>(source);
  heads_[source] = *more ? std::optional(record) : std::nullopt;
  return {};
}

// There is nothing to merge in one capture.
Result<size_t> MergedReader::next_burst(std::span<Record> records) {
  if (readers_.size() > 1 || started_) return Reader::next_burst(records);
  Reader& only = *readers_.front();
  const auto got = only.next_burst(records);
  packets_ = only.packets();
  bytes_ = only.bytes();
  snapped_ = only.snapped();
  return got;
}

Result<bool> MergedReader::next(Record& record) {
  if (error_) return tl::unexpected<Error>(*error_);
  const size_t first = started_ ? given_.value_or(readers_.size()) : 0;
  const size_t end = started_ && given_ ? first + 1 : readers_.size();
  started_ = true;
  for (size_t source = first; source < end; ++source) {
    if (auto moved = advance(source); !moved) {
      error_ = moved.error();
      return tl::unexpected<Error>(*error_);
    }
  }
  given_.reset();
  for (size_t source = 0; source < heads_.size(); ++source) {
    const auto& head = heads_[source];
    if (head && (!given_ || head->timestamp_ns < heads_[*given_]->timestamp_ns)) given_ = source;
  }
  if (!given_) return false;
  record = *heads_[*given_];
  ++packets_;
  bytes_ += record.bytes.size();
  if (record.original_length > record.bytes.size()) ++snapped_;
  return true;
}

}  // namespace xnic::traces
