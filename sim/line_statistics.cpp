// Test: tests/sim/line_command_test.cpp.
#include "sim/line_statistics.h"

#include <fmt/format.h>

namespace xnic::sim {
namespace {

constexpr double kMega = 1e6;
constexpr double kNanosecondsPerSecond = 1e9;

double per_second(uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

double cycles_a_packet(const LineCount& count) {
  return count.received == 0
             ? 0
             : static_cast<double>(count.busy_cycles) / static_cast<double>(count.received);
}

double idle_share(const LineCount& count) {
  const auto cycles = static_cast<double>(count.busy_cycles + count.idle_cycles);
  return cycles > 0 ? static_cast<double>(count.idle_cycles) / cycles : 0;
}

}  // namespace

LineCount LineSpan::all() const {
  LineCount sum;
  for (const LineCount& one : threads) sum.add(one);
  return sum;
}

LineSpan LineWatch::look() {
  const uint64_t now = line_.elapsed_ns();
  LineSpan span{.seconds = static_cast<double>(now - then_ns_) / kNanosecondsPerSecond};
  for (size_t i = 0; i < line_.threads(); ++i) {
    const LineCount count = line_.count(i);
    span.threads.push_back(count.since(before_[i]));
    before_[i] = count;
  }
  const auto verdicts = line_.verdicts();
  for (const auto& [verdict, count] : verdicts) {
    const uint64_t fresh = count - verdicts_before_[verdict];
    if (fresh != 0) span.verdicts[verdict] = fresh;
  }
  verdicts_before_ = verdicts;
  then_ns_ = now;
  return span;
}

Json to_json(const LineCount& count, double seconds) {
  Json drops = Json::object();
  for (size_t i = 0; i < kDropReasons; ++i) {
    if (count.drops[i] == 0) continue;
    drops[std::string(drop_reason_name(static_cast<DropReason>(i)))] = count.drops[i];
  }
  return {{"received", count.received},
          {"received_bytes", count.received_bytes},
          {"delivered", count.delivered},
          {"transmitted", count.transmitted},
          {"transmitted_bytes", count.transmitted_bytes},
          {"drops", std::move(drops)},
          {"packets_per_second", per_second(count.received, seconds)},
          {"cycles_per_packet", cycles_a_packet(count)},
          {"idle_share", idle_share(count)}};
}

Json to_json(const LineSpan& span) {
  Json json = to_json(span.all(), span.seconds);
  json["verdicts"] = Json::object();
  for (const auto& [verdict, count] : span.verdicts) json["verdicts"][std::string(verdict)] = count;
  return json;
}

Json to_json(const nic::Port& port) {
  const nic::PortFacts& facts = port.facts();
  const nic::PortCounters counters = port.counters();
  const nic::PortLink link = port.link();
  return {{"name", facts.name},
          {"driver", facts.driver},
          {"receive_queues", facts.receive_queues},
          {"hardware_rss", facts.spreads},
          {"link_up", link.up},
          {"link_mbps", link.mbps},
          {"received", counters.received},
          {"sent", counters.sent},
          {"missed", counters.missed},
          {"no_memory", counters.no_memory},
          {"receive_errors", counters.receive_errors},
          {"send_errors", counters.send_errors}};
}

std::string to_line(const LineSpan& span) {
  const LineCount all = span.all();
  const auto mega = [&](uint64_t count) { return per_second(count, span.seconds) / kMega; };
  std::string text =
      fmt::format("{:.3f} Mpps in, {:.3f} Gb/s; {:.3f} out, {:.3f} delivered, {:.3f} dropped",
                  mega(all.received), mega(all.received_bytes) * 8 / 1000, mega(all.transmitted),
                  mega(all.delivered), mega(all.dropped()));
  for (const auto& [verdict, count] : span.verdicts) {
    text += fmt::format("; {} {:.3f}", verdict, mega(count));
  }
  for (size_t i = 0; i < span.threads.size(); ++i) {
    text += fmt::format("; thread {}: {:.0f} cycles a packet, {:.0f} % idle", i,
                        cycles_a_packet(span.threads[i]), 100 * idle_share(span.threads[i]));
  }
  return text;
}

}  // namespace xnic::sim
