// Test: tests/sim/interfaces_command_test.cpp.
#include "sim/sockets.h"

#include <fmt/format.h>

#include <charconv>

#include "nic/time.h"
#include "vm/maps/xskmap.h"

namespace xnic::sim {
namespace {

// Numbers of sockets, which are inodes where sockets are the host's.
constexpr uint64_t kFirstSocket = uint64_t{1} << 63;

}  // namespace

Result<std::unique_ptr<Sockets>> Sockets::create(const std::vector<std::string>& requests,
                                                 const Attachments& attachments) {
  std::unique_ptr<Sockets> sockets(new Sockets());
  for (const std::string& request : requests) {
    const size_t equals = request.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == request.size()) {
      return fail(ExitCode::usage, "--xsk {}: write it as MAP[:KEY]=FILE.pcap", request);
    }
    std::string name = request.substr(0, equals);
    std::optional<uint32_t> key;
    if (const size_t colon = name.rfind(':'); colon != std::string::npos) {
      const char* end = name.data() + name.size();
      uint32_t number = 0;
      const auto [rest, error] = std::from_chars(name.data() + colon + 1, end, number);
      if (error != std::errc() || rest != end) {
        return fail(ExitCode::usage, "--xsk {}: '{}' is no place of a map, a number from 0 on",
                    request, name.substr(colon + 1));
      }
      key = number;
      name.erase(colon);
    }
    const auto maps = find_maps(attachments, name, "--xsk");
    if (!maps) return tl::unexpected(maps.error());
    const uint64_t socket = kFirstSocket + sockets->writers_.size();
    for (vm::Map* map : *maps) {
      const uint32_t places = map->spec().max_entries;
      const uint32_t first = key.value_or(0);
      const uint32_t last = key ? first : places - 1;
      for (uint32_t place = first; place <= last; ++place) {
        if (vm::bind_socket(*map, place, socket)) continue;
        return fail(ExitCode::usage, "--xsk {}: {} is no xskmap with a place {}", request, name,
                    place);
      }
    }
    const std::string path = request.substr(equals + 1);
    auto made = traces::PcapWriter::create(path);
    if (!made) return tl::unexpected(made.error());
    sockets->writers_.push_back(std::move(*made));
    sockets->paths_.push_back(path);
  }
  return sockets;
}

void Sockets::received(const vm::Packet& packet, uint64_t socket, uint64_t time_ps) {
  if (socket < kFirstSocket || socket - kFirstSocket >= writers_.size() || error_) return;
  const std::vector<uint8_t> bytes = packet.bytes();
  const auto time = static_cast<int64_t>(time_ps / nic::kPicosecondsPerNanosecond);
  const auto written = writers_[socket - kFirstSocket]->write(start_ns_ + time, bytes,
                                                              static_cast<uint32_t>(bytes.size()));
  if (!written) error_ = written.error();
}

Result<void> Sockets::finish() {
  if (error_) return tl::unexpected(*error_);
  for (const auto& writer : writers_) {
    if (auto finished = writer->finish(); !finished) return finished;
  }
  return {};
}

}  // namespace xnic::sim
