// xnic line --generate. Test: tests/sim/line_traffic_test.cpp.
#include "sim/commands/line_traffic.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <thread>

#include "sim/commands/options.h"
#include "sim/generator.h"
#include "sim/rate_search.h"

namespace xnic::sim {
namespace {

constexpr double kMega = 1e6;
constexpr double kPicosecondsPerMicrosecond = 1e6;
// Longer than anybody waits, in nanoseconds: a number of frames ends the trial.
constexpr uint64_t kNoEnd = 30ull * 24 * 3600 * 1'000'000'000;
// Frames of a --check that names no number: all of them are kept.
constexpr uint64_t kFramesChecked = 10'000;

// "0.1%" or "0.001".
Result<double> parse_share(const std::string& text) {
  double share = 0;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, share);
  const std::string_view unit(read.ptr, static_cast<size_t>(end - read.ptr));
  if (unit == "%") share /= 100;
  if (read.ec != std::errc() || !(unit.empty() || unit == "%") || !(share >= 0 && share < 1)) {
    return fail(ExitCode::usage, "--loss {}: give a share of the frames, such as 0.1%", text);
  }
  return share;
}

Json to_json(const TrialResult& trial, double wire_bits) {
  const LatencySummary& latency = trial.latency;
  return {{"sent", trial.sent},
          {"received", trial.received},
          {"lost", trial.lost()},
          {"loss", trial.loss()},
          {"reordered", trial.reordered},
          {"duplicated", trial.duplicated},
          {"strange", trial.strange},
          {"seconds", trial.seconds},
          {"frames_per_second", trial.sent_per_second()},
          {"bits_per_second", trial.sent_per_second() * wire_bits},
          {"latency_ps",
           {{"count", latency.count},
            {"min", latency.minimum_ps},
            {"p50", latency.median_ps},
            {"p90", latency.p90_ps},
            {"p99", latency.p99_ps},
            {"p999", latency.p999_ps},
            {"max", latency.maximum_ps}}}};
}

std::string to_table(const TrialResult& trial, double wire_bits) {
  const auto us = [](uint64_t ps) { return static_cast<double>(ps) / kPicosecondsPerMicrosecond; };
  const LatencySummary& latency = trial.latency;
  std::string text = fmt::format(
      "sent         {} in {:.3f} s, {:.3f} Mpps, {:.3f} Gb/s on the wire\n"
      "received     {}\n"
      "lost         {} ({:.6f} %)\n"
      "reordered    {}, duplicated {}, strange {}\n",
      trial.sent, trial.seconds, trial.sent_per_second() / kMega,
      trial.sent_per_second() * wire_bits / (1000 * kMega), trial.received, trial.lost(),
      100 * trial.loss(), trial.reordered, trial.duplicated, trial.strange);
  if (latency.count != 0) {
    text += fmt::format(
        "latency      min {:.3f} us, p50 {:.3f}, p90 {:.3f}, p99 {:.3f}, p99.9 {:.3f}, max "
        "{:.3f}\n",
        us(latency.minimum_ps), us(latency.median_ps), us(latency.p90_ps), us(latency.p99_ps),
        us(latency.p999_ps), us(latency.maximum_ps));
  }
  return text;
}

// What the command line asks of a trial.
struct Request {
  std::optional<double> rate;  // frames a second
  uint64_t duration_ns;
  double most_loss = 0;
};

Result<Request> request_of(const LineArguments& a, double wire_bits, uint32_t mbps) {
  Request request{.rate = std::nullopt, .duration_ns = 1'000'000'000};
  if (!a.duration.empty()) {
    const auto parsed = parse_duration("--duration", a.duration);
    if (!parsed) return tl::unexpected(parsed.error());
    request.duration_ns = *parsed;
  } else if (a.packets != 0 || a.check) {
    request.duration_ns = kNoEnd;
  }
  if (!a.rate.empty()) {
    const auto rate = traces::parse_rate(a.rate);
    if (!rate) return tl::unexpected(rate.error());
    request.rate = frames_per_second(*rate, wire_bits, mbps);
    if (!request.rate) {
      return fail(ExitCode::usage,
                  "--rate {}: the speed of {}'s link is not known; give Mpps or Gbps", a.rate,
                  a.tx);
    }
  }
  if (!a.loss.empty()) {
    const auto share = parse_share(a.loss);
    if (!share) return tl::unexpected(share.error());
    request.most_loss = *share;
  }
  return request;
}

TrafficReport search(const LineArguments& a, const Request& request, Generator& generator,
                     uint32_t mbps, const std::atomic<bool>& stop) {
  TrialOptions trial{.duration_ns = request.duration_ns};
  const double wire_bits = generator.wire_bits();
  // No rate above that of the link, or of what can be sent at all, makes sense.
  std::optional<double> most = request.rate;
  if (!most)
    most = frames_per_second({.value = 100, .unit = traces::Rate::percent}, wire_bits, mbps);
  if (!most) most = generator.run(trial, stop).sent_per_second();
  const SearchResult found = search_rate({.most_loss = request.most_loss}, *most, [&](double rate) {
    trial.rate = rate;
    return generator.run(trial, stop);
  });
  TrafficReport report;
  report.json = {{"search", a.search},
                 {"most_loss", request.most_loss},
                 {"frames_per_second", found.rate},
                 {"bits_per_second", found.rate * wire_bits},
                 {"of_most", *most > 0 ? found.rate / *most : 0},
                 {"at_rate", to_json(found.at_rate, wire_bits)},
                 {"steps", Json::array()}};
  report.table = fmt::format("{:>12} {:>12} {:>14} {:>12}  {}\n", "Mpps asked", "Mpps sent",
                             "frames", "lost", "verdict");
  for (const SearchStep& step : found.steps) {
    Json one = to_json(step.result, wire_bits);
    one["rate"] = step.rate;
    one["passed"] = step.passed;
    report.json["steps"].push_back(std::move(one));
    report.table += fmt::format("{:>12.4f} {:>12.4f} {:>14} {:>12}  {}\n", step.rate / kMega,
                                step.result.sent_per_second() / kMega, step.result.sent,
                                step.result.lost(), step.passed ? "passes" : "fails");
  }
  report.table += fmt::format("\n{}          {:.4f} Mpps, {:.3f} Gb/s on the wire\n", a.search,
                              found.rate / kMega, found.rate * wire_bits / (1000 * kMega));
  report.table += to_table(found.at_rate, wire_bits);
  return report;
}

TrafficReport send(const LineArguments& a, const Request& request, Generator& generator,
                   const Traffic& traffic, LineCheck* check, const std::atomic<bool>& stop) {
  TrialOptions trial{.rate = request.rate, .duration_ns = request.duration_ns};
  if (a.packets != 0) trial.frames = a.packets;
  if (check != nullptr) {
    if (a.packets == 0) trial.frames = kFramesChecked;
    // What is sent must be known beforehand.
    trial.timestamps = false;
    trial.received = [check](std::span<const uint8_t> frame) { check->came(frame); };
  }
  const TrialResult result = generator.run(trial, stop);
  TrafficReport report;
  report.json = to_json(result, generator.wire_bits());
  report.table = to_table(result, generator.wire_bits());
  if (check == nullptr) return report;
  for (uint64_t i = 0; i < result.sent; ++i) {
    std::vector<uint8_t> frame = traffic[i % traffic.size()];
    if (frame.size() >= FrameTag::kShortest) put_tag(frame, {.sequence = i, .sent = 0});
    check->sent(frame);
  }
  const LineCheck::Answer answer = check->answer();
  report.as_predicted = answer.missing == 0 && answer.unexpected == 0;
  report.json["check"] = {{"predicted", answer.predicted},
                          {"missing", answer.missing},
                          {"unexpected", answer.unexpected},
                          {"examples", answer.examples}};
  report.table += fmt::format("predicted    {} to come back; {} missing, {} unexpected\n",
                              answer.predicted, answer.missing, answer.unexpected);
  for (const std::string& example : answer.examples) report.table += "  " + example + "\n";
  return report;
}

// "64,512", or "rfc2544" for the lengths of its section 9.1, one by one; other words are one.
std::vector<std::string> searched(const std::string& what) {
  if (what == "rfc2544") return {"64", "128", "256", "512", "1024", "1280", "1518"};
  std::vector<std::string> words(1);
  if (what.find_first_not_of("0123456789,") != std::string::npos) return {what};
  for (const char c : what) {
    if (c == ',') {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

// By the thread that may use the ports.
struct Sender {
  LinePorts& ports;
  nic::Port& tx;
  nic::Port& rx;
  int cpu;
  LineCheck* check;
  const std::atomic<bool>& stop;

  Result<TrafficReport> run(const LineArguments& a) const {
    const auto traffic = make_traffic(a.generate, tx.facts().mac);
    if (!traffic) return tl::unexpected(traffic.error());
    Generator generator(tx, rx, *traffic);
    const uint32_t mbps = tx.link().mbps;
    const auto request = request_of(a, generator.wire_bits(), mbps);
    if (!request) return tl::unexpected(request.error());
    Result<TrafficReport> report;
    std::jthread([&] {
      if (auto entered = ports.dpdk().enter_thread(cpu); !entered) {
        report = tl::unexpected(entered.error());
        return;
      }
      report = a.search.empty() ? send(a, *request, generator, *traffic, check, stop)
                                : search(a, *request, generator, mbps, stop);
      ports.dpdk().leave_thread();
    }).join();
    return report;
  }
};

}  // namespace

Result<TrafficReport> run_traffic(const LineArguments& a, LinePorts& ports, nic::Port& tx,
                                  nic::Port& rx, int cpu, LineCheck* check,
                                  const std::atomic<bool>& stop) {
  const Sender sender{ports, tx, rx, cpu, check, stop};
  const std::vector<std::string> lengths = searched(a.generate);
  if (lengths.size() == 1) return sender.run(a);
  if (a.search.empty()) {
    return fail(ExitCode::usage, "--generate {}: several lengths go with --search", a.generate);
  }
  TrafficReport all;
  all.json = {{"search", a.search}, {"lengths", Json::array()}};
  all.table = fmt::format("{:>12} {:>12} {:>12} {:>12} {:>12}\n", "frame bytes", a.search + " Mpps",
                          "Gb/s", "% of most", "p50 us");
  for (const std::string& length : lengths) {
    LineArguments one = a;
    one.generate = length;
    auto report = sender.run(one);
    if (!report) return report;
    Json& found = report->json;
    all.table += fmt::format(
        "{:>12} {:>12.4f} {:>12.3f} {:>12.2f} {:>12.3f}\n", length,
        found["frames_per_second"].get<double>() / kMega,
        found["bits_per_second"].get<double>() / (1000 * kMega),
        100 * found["of_most"].get<double>(),
        found["at_rate"]["latency_ps"]["p50"].get<double>() / kPicosecondsPerMicrosecond);
    found["frame_bytes"] = std::stoul(length);
    all.json["lengths"].push_back(std::move(found));
    if (stop) break;
  }
  return all;
}

}  // namespace xnic::sim
