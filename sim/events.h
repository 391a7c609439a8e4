#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sim/attachment.h"
#include "vm/btf.h"
#include "vm/invocation.h"
#include "vm/kernel.h"
#include "vm/result.h"

namespace xnic::sim {

// The reader of every ring buffer and perf event array of a run. It takes each record at once, so
// that no ring fills up, and gives it as one line of JSON without the newline:
//   {"sim_ns":1200,"map":"events","cpu":0,"bytes":"0a0b...","value":{"source":1}}
// "bytes" is what libbpf's readers would get, in hexadecimal (of perf events with their padding);
// "value" is there where the type is known and the record is long enough for it. Samples that found
// no room in a perf event's ring are a line with "lost" and their number in place of "bytes".
class EventReader {
 public:
  using Line = std::function<void(std::string_view)>;

  // `types` are "MAP=TYPE": a struct, union, typedef or other type in the BTF of the objects, with
  // or without "struct " before it. Without one, a map's records have the type that its BTF says
  // its values have. The kernel and the attachments must outlive the reader. Errors: usage, for an
  // unknown map or type.
  static Result<std::unique_ptr<EventReader>> create(vm::Kernel& kernel,
                                                     const Attachments& attachments,
                                                     const std::vector<std::string>& types,
                                                     Line line);

  // Environment::record: `map` has new records.
  void read(vm::Map& map, const vm::Environment& environment);

 private:
  struct Type {
    std::shared_ptr<const vm::Btf> btf;
    uint32_t id = 0;
    size_t size = 0;  // bytes
  };

  explicit EventReader(Line line) : line_(std::move(line)) {}
  Result<void> set_type(vm::Kernel& kernel, const Attachments& attachments,
                        const std::string& request);
  void listen(vm::Map& map);
  void print(const vm::Map& map, const vm::Environment& environment, std::string_view fields);

  Line line_;
  std::map<const vm::Map*, std::string> names_;
  std::map<const vm::Map*, Type> types_;
};

}  // namespace xnic::sim
