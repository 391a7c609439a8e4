// A bpffs of our own. What it leaves out: permissions, rename, symbolic links and reading a pin as
// text; saved pins of programs and links. Test: tests/vm/syscall_pin_test.cpp.
#include "vm/bpffs.h"

#include <cerrno>
#include <filesystem>

#include "vm/pin_file.h"

namespace xnic::vm {
namespace {

namespace fs = std::filesystem;

std::string parent_of(const std::string& path) { return fs::path(path).parent_path().string(); }

// Linux keeps names with a dot for itself.
bool is_reserved(const std::string& path) {
  return path.find('.', std::string_view(Bpffs::kRoot).size()) != std::string::npos;
}

const void* address_of(const Pinned& pinned) {
  return std::visit([](const auto& object) -> const void* { return object.get(); }, pinned);
}

}  // namespace

std::string Bpffs::inside(const std::string& path) {
  std::error_code error;
  std::string whole = fs::absolute(path, error).lexically_normal().string();
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  const std::string root = kRoot;
  const bool below = whole == root || whole.starts_with(root + "/");
  return below ? whole : std::string();
}

Result<void> Bpffs::keep_in(const std::string& directory, Restore restore) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (!fs::is_directory(directory, error)) {
    return fail(ExitCode::bad_input, "{}: is not a directory that pins can be kept in", directory);
  }
  directory_ = directory;
  restore_ = std::move(restore);
  return {};
}

std::string Bpffs::file_of(const std::string& path) const {
  return directory_.empty() ? std::string()
                            : directory_ + path.substr(std::string_view(kRoot).size());
}

bool Bpffs::is_directory(const std::string& path) const {
  std::error_code error;
  return directories_.contains(path) ||
         (!directory_.empty() && fs::is_directory(file_of(path), error));
}

void Bpffs::revive(const std::string& path) {
  std::error_code error;
  if (directory_.empty() || pins_.contains(path) || unlinked_.contains(path) ||
      damaged_.contains(path) || !fs::is_regular_file(file_of(path), error)) {
    return;
  }
  auto map = restore_(file_of(path));
  if (map) {
    pins_.emplace(path, std::move(*map));
  } else {
    damaged_.insert(path);
    notes_.push_back(map.error().message);
  }
}

int Bpffs::pin(const std::string& path, Pinned object) {
  if (path != kRoot && is_reserved(path)) return -EPERM;
  if (exists(path)) return -EEXIST;
  if (pins_.contains(parent_of(path))) return -ENOTDIR;
  if (!is_directory(parent_of(path))) return -ENOENT;
  pins_.emplace(path, std::move(object));
  unlinked_.erase(path);
  return 0;
}

int Bpffs::get(const std::string& path, Pinned& object) {
  if (is_directory(path)) return -EACCES;
  if (is_reserved(path)) return -EPERM;
  revive(path);
  const auto pinned = pins_.find(path);
  if (pinned == pins_.end()) return pins_.contains(parent_of(path)) ? -ENOTDIR : -ENOENT;
  object = pinned->second;
  return 0;
}

int Bpffs::make_directory(const std::string& path) {
  if (exists(path)) return -EEXIST;
  if (is_reserved(path)) return -EPERM;
  if (!is_directory(parent_of(path))) return -ENOENT;
  directories_.insert(path);
  return 0;
}

int Bpffs::unlink(const std::string& path) {
  if (is_directory(path)) return -EISDIR;
  revive(path);
  if (pins_.erase(path) == 0) return -ENOENT;
  unlinked_.insert(path);
  return 0;
}

bool Bpffs::exists(const std::string& path) {
  if (is_directory(path)) return true;
  revive(path);
  return pins_.contains(path);
}

std::string Bpffs::pin_of_object(const void* object) const {
  for (const auto& [path, pinned] : pins_) {
    if (address_of(pinned) == object) return path;
  }
  return {};
}

Result<void> Bpffs::save() {
  if (directory_.empty()) return {};
  const PinOf pin_of = [this](const Map& map) { return pin_of_object(&map); };
  std::error_code error;
  for (const std::string& path : unlinked_) fs::remove(file_of(path), error);
  for (const std::string& path : directories_) fs::create_directories(file_of(path), error);
  for (const auto& [path, pinned] : pins_) {
    const auto* map = std::get_if<std::shared_ptr<Map>>(&pinned);
    if (map == nullptr) continue;
    if (auto written = write_pin_file(file_of(path), **map, pin_of); !written) return written;
  }
  return {};
}

}  // namespace xnic::vm
