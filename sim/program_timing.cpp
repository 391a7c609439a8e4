// Left out: programs that see a fresh packet in every run, for which Linux has live frames.
// Test: tests/sim/bench_command_test.cpp.
#include "sim/program_timing.h"

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <limits>
#include <map>

namespace xnic::sim {
namespace {

constexpr uint32_t kMostRuns = 50'000'000;  // of one packet in one call
constexpr double kLongEnough = 1e6;         // nanoseconds
// What a call costs beside its runs is measured with so many runs: for more than one, Linux lets
// its XDP dispatcher call the program directly, which takes 0.3 ms.
constexpr uint32_t kBaseRuns = 2;

// Nanoseconds that this thread has run, in the kernel too: others may run meanwhile.
double thread_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

uint16_t big_endian(uint16_t value) { return __builtin_bswap16(value); }

}  // namespace

Result<uint32_t> ProgramTiming::run(const NumberedPacket& packet, uint32_t repeat,
                                    double& nanoseconds) {
  RunRequest request;
  request.data = packet.bytes;
  request.wants_data = false;
  request.repeat = repeat;
  const double start = thread_time();
  const RunAnswer answer = host_.run(program_, request);
  nanoseconds = thread_time() - start;
  if (answer.error != 0) {
    return fail(ExitCode::expectation_failed,
                "{}: BPF_PROG_TEST_RUN refuses packet {} of {} bytes: {}", host_.name(),
                packet.number, packet.bytes.size(), std::strerror(static_cast<int>(-answer.error)));
  }
  return answer.code;
}

Result<uint32_t> ProgramTiming::warm_up() {
  std::map<uint32_t, size_t> answers;
  for (const NumberedPacket& packet : packets_) {
    double ignored = 0;
    const auto code = run(packet, 1, ignored);
    if (!code) return code;
    ++answers[*code];
  }
  return std::ranges::max_element(answers, {}, [](const auto& one) { return one.second; })->first;
}

Result<void> ProgramTiming::time(const NumberedPacket& packet, double& base, double& all) {
  if (auto code = run(packet, kBaseRuns, base); !code) return tl::unexpected(code.error());
  if (auto code = run(packet, kBaseRuns + repeat_, all); !code) return tl::unexpected(code.error());
  return {};
}

Result<void> ProgramTiming::choose_repeat(uint64_t nanoseconds) {
  const double share = static_cast<double>(nanoseconds) / static_cast<double>(packets_.size());
  for (repeat_ = 16; repeat_ < kMostRuns; repeat_ *= 4) {
    // The least of three, since what disturbs only adds.
    double spent = std::numeric_limits<double>::max();
    double call = spent;
    for (int i = 0; i < 3; ++i) {
      double base = 0;
      double all = 0;
      if (auto timed = time(packets_.front(), base, all); !timed) return timed;
      spent = std::min(spent, all - base);
      call = std::min(call, base);
    }
    // What is measured must not drown in what a call takes.
    const double wanted = std::max(share, 2 * call);
    // Long enough to tell how many runs fill the time.
    if (spent < std::min(wanted / 4, kLongEnough)) continue;
    repeat_ = static_cast<uint32_t>(std::clamp(wanted / spent * repeat_, 16.0, double{kMostRuns}));
    return {};
  }
  repeat_ = kMostRuns;
  return {};
}

Result<double> ProgramTiming::measure() {
  double sum = 0;
  for (const NumberedPacket& packet : packets_) {
    double base = 0;
    double all = 0;
    if (auto timed = time(packet, base, all); !timed) return tl::unexpected(timed.error());
    sum += (all - base) / repeat_;
  }
  return std::max(0.0, sum / static_cast<double>(packets_.size()));
}

Spread spread_of(std::vector<double> samples) {
  std::ranges::sort(samples);
  const size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return {median, samples.front(), samples.back()};
}

Bytes generated_packet() {
  Bytes bytes(64);
  ethhdr ethernet{.h_dest = {2, 0, 0, 0, 0, 2},
                  .h_source = {2, 0, 0, 0, 0, 1},
                  .h_proto = big_endian(ETH_P_IP)};
  iphdr ip{};
  ip.version = 4;
  ip.ihl = 5;
  ip.tot_len = big_endian(static_cast<uint16_t>(bytes.size() - sizeof(ethernet)));
  ip.ttl = 64;
  ip.protocol = 17;
  ip.saddr = __builtin_bswap32(0xc0000201);
  ip.daddr = __builtin_bswap32(0xc6336401);
  uint16_t words[sizeof(ip) / 2];
  std::memcpy(words, &ip, sizeof(ip));
  uint32_t sum = 0;
  for (const uint16_t word : words) sum += word;
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  ip.check = static_cast<uint16_t>(~sum);
  const udphdr udp{
      .source = big_endian(1024),
      .dest = big_endian(53),
      .len = big_endian(static_cast<uint16_t>(bytes.size() - sizeof(ethernet) - sizeof(ip))),
      .check = 0};
  std::memcpy(bytes.data(), &ethernet, sizeof(ethernet));
  std::memcpy(bytes.data() + sizeof(ethernet), &ip, sizeof(ip));
  std::memcpy(bytes.data() + sizeof(ethernet) + sizeof(ip), &udp, sizeof(udp));
  return bytes;
}

}  // namespace xnic::sim
