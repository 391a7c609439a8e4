// Test: tests/sim/run_command_test.cpp.
#include "sim/departures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "nic/time.h"

namespace xnic::sim {

Result<std::unique_ptr<Departures>> Departures::create(const std::vector<std::string>& requests,
                                                       const vm::Network& network,
                                                       OutcomeSink& next) {
  std::unique_ptr<Departures> departures(new Departures(next));
  for (const std::string& request : requests) {
    const size_t equals = request.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == request.size()) {
      return fail(ExitCode::usage, "--write {}: write it as INTERFACE=FILE.pcap", request);
    }
    const vm::Interface* interface = network.by_name(request.substr(0, equals));
    if (interface == nullptr) {
      std::vector<std::string> names;
      for (const vm::Interface& known : network.interfaces) names.push_back(known.name);
      return fail(ExitCode::usage, "--write {}: there is no such interface; there are {}", request,
                  fmt::join(names, ", "));
    }
    auto& writer = departures->writers_[interface->ifindex];
    if (writer != nullptr) {
      return fail(ExitCode::usage, "--write {}: the interface already has a file", request);
    }
    const std::string path = request.substr(equals + 1);
    auto made = traces::PcapWriter::create(path);
    if (!made) return tl::unexpected(made.error());
    writer = std::move(*made);
    departures->paths_.push_back(path);
  }
  return departures;
}

void Departures::done(const vm::Packet& packet, const Outcome& outcome) {
  if (outcome.end == End::transmitted) copy_sent(packet, outcome.out_ifindex, outcome.end_ps);
  next_.done(packet, outcome);
}

void Departures::copy_sent(const vm::Packet& packet, uint32_t ifindex, uint64_t time_ps) {
  const auto writer = writers_.find(ifindex);
  if (writer == writers_.end() || error_) return;
  const std::vector<uint8_t> bytes = packet.bytes();
  const auto written = writer->second->write(
      start_ns_ + static_cast<int64_t>(time_ps / nic::kPicosecondsPerNanosecond), bytes,
      static_cast<uint32_t>(bytes.size()));
  if (!written) error_ = written.error();
}

Result<void> Departures::finish() {
  if (error_) return tl::unexpected(*error_);
  for (auto& [ifindex, writer] : writers_) {
    if (auto finished = writer->finish(); !finished) return finished;
  }
  return {};
}

}  // namespace xnic::sim
