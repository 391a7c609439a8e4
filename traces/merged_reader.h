#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "traces/reader.h"

namespace xnic::traces {

// Several captures read as one, in the order of their times: of records of one time that of the
// first capture comes first. Within a capture the order stays, whatever its times are.
class MergedReader : public Reader {
 public:
  // At least one. Record::source is the reader's place here.
  explicit MergedReader(std::vector<std::unique_ptr<Reader>> readers);

  Result<bool> next(Record& record) override;
  Result<size_t> next_burst(std::span<Record> records) override;
  // Each for itself, for what is to be said of it.
  const std::vector<std::unique_ptr<Reader>>& readers() const { return readers_; }

 private:
  Result<void> advance(size_t source);

  std::vector<std::unique_ptr<Reader>> readers_;
  std::vector<std::optional<Record>> heads_;  // the next record of each; none at its end
  std::optional<size_t> given_;               // whose record the caller has
  bool started_ = false;
  std::optional<Error> error_;
};

}  // namespace xnic::traces
