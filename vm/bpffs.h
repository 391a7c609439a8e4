#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "vm/map.h"
#include "vm/net_device.h"
#include "vm/program.h"
#include "vm/result.h"

namespace xnic::vm {

// A pinned object. A pin holds its object as a descriptor does.
using Pinned = std::variant<std::shared_ptr<Map>, std::shared_ptr<Program>, std::shared_ptr<Link>>;

// The emulated machine's bpffs, mounted at /sys/fs/bpf of its own: paths below it lead here and
// never to the host's. It lives in memory; with a directory, pins are files there between runs:
// a map's file tells its spec and its contents (vm/pin_file.h), and a lookup brings it back.
// Nothing is written before save(). Programs and links are pinned for the run alone.
// Errors of the calls are -errno. Test: tests/vm/syscall_pin_test.cpp.
class Bpffs {
 public:
  static constexpr const char* kRoot = "/sys/fs/bpf";

  // Makes a live map of a saved one; gives null and a sentence where it cannot.
  using Restore = std::function<Result<std::shared_ptr<Map>>(const std::string& file)>;
  // From now on pins are kept in `directory`, which is made where it is missing.
  Result<void> keep_in(const std::string& directory, Restore restore);
  // Writes the pins into the directory, each file whole or not at all. Without one: does nothing.
  Result<void> save();

  // `path` as an absolute path without "." and ".."; "" where it is not below kRoot.
  static std::string inside(const std::string& path);

  // The paths of these are absolute and below kRoot, or kRoot itself (what inside() gives).
  int pin(const std::string& path, Pinned object);
  int get(const std::string& path, Pinned& object);
  int make_directory(const std::string& path);
  int unlink(const std::string& path);
  bool exists(const std::string& path);

  // The first path at which this object is pinned; empty for none.
  std::string pin_of_object(const void* object) const;
  bool holds(const void* object) const { return !pin_of_object(object).empty(); }
  // Whether some saved pin could not be brought back; it is as if it were not there.
  bool damaged() const { return !damaged_.empty(); }
  // Sentences about saved pins that did not come back whole.
  const std::vector<std::string>& notes() const { return notes_; }
  void note(std::string sentence) { notes_.push_back(std::move(sentence)); }

 private:
  bool is_directory(const std::string& path) const;
  // The file of a pin in the directory; empty without one.
  std::string file_of(const std::string& path) const;
  // Brings a saved pin back, where there is one.
  void revive(const std::string& path);

  std::map<std::string, Pinned> pins_;
  std::set<std::string> directories_{kRoot};
  std::set<std::string> unlinked_;  // saved pins that are gone
  std::set<std::string> damaged_;   // saved pins that cannot be read
  std::string directory_;
  Restore restore_;
  std::vector<std::string> notes_;
};

}  // namespace xnic::vm
