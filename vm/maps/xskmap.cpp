// AF_XDP socket maps. Sockets are the host's own, known by their inode.
// What it leaves out: packets never reach a socket of the host, only those that bind_socket() put
// in; a socket's queue number is 0; an entry does not go
// when its socket is closed.
// Test: tests/vm/map_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/xskmap.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "vm/maps/redirect_map.h"

namespace xnic::vm {
namespace {

// The inode of an AF_XDP socket, or what Linux answers to another descriptor.
tl::expected<uint64_t, int> xdp_socket(int fd) {
  int family = 0;
  socklen_t length = sizeof(family);
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0) return tl::unexpected(-errno);
  if (family != AF_XDP) return tl::unexpected(-EOPNOTSUPP);
  struct stat status {};
  if (fstat(fd, &status) != 0) return tl::unexpected(-errno);
  return status.st_ino;
}

class Xskmap : public RedirectArray {
 public:
  using RedirectArray::RedirectArray;

  int user_lookup(const uint8_t*, uint8_t*, uint64_t flags) override {
    return flags != 0 ? -EINVAL : -EOPNOTSUPP;
  }

  int user_update(const uint8_t* key, const uint8_t* value, uint64_t flags) override {
    const uint32_t index = read_index(key);
    if (flags > BPF_EXIST) return -EINVAL;
    if (index >= spec_.max_entries) return -E2BIG;
    const auto socket = xdp_socket(static_cast<int>(read_index(value)));
    if (!socket) return socket.error();
    const std::lock_guard lock(mutex_);
    const RedirectSlot* old = find(index);
    if (old != nullptr && old->entry.socket == *socket) return 0;
    if (old != nullptr && flags == BPF_NOEXIST) return -EEXIST;
    if (old == nullptr && flags == BPF_EXIST) return -ENOENT;
    set(index, *socket);
    return 0;
  }

  bool bind(uint32_t index, uint64_t socket) {
    const std::lock_guard lock(mutex_);
    if (index >= spec_.max_entries) return false;
    set(index, socket);
    return true;
  }

 private:
  // The caller holds the mutex.
  void set(uint32_t index, uint64_t socket) {
    RedirectSlot* slot = take(index);
    std::memset(slot->value, 0, sizeof(slot->value));
    slot->entry = {.socket = socket};
    put(index, slot);
  }
};

}  // namespace

bool bind_socket(Map& map, uint32_t key, uint64_t socket) {
  auto* sockets = dynamic_cast<Xskmap*>(&map);
  return sockets != nullptr && sockets->bind(key, socket);
}

int check_xskmap(const MapSpec& spec) {
  constexpr uint32_t kAllowed = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY;
  if (spec.max_entries == 0 || spec.key_size != 4 || spec.value_size != 4 ||
      !flags_valid(spec, kAllowed))
    return -EINVAL;
  return 0;
}

tl::expected<std::shared_ptr<Map>, int> create_xskmap(const MapSpec& spec,
                                                      const MapContext& context) {
  return RedirectArray::memory(spec).map([&](MemoryBlock&& places) -> std::shared_ptr<Map> {
    return std::make_shared<Xskmap>(spec, context, std::move(places));
  });
}

}  // namespace xnic::vm
