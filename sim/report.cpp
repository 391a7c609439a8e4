#include "sim/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "sim/usage.h"

namespace xnic::sim {
namespace {

constexpr int kSchemaVersion = 1;
constexpr double kPicosecondsPerMicrosecond = 1e6;
constexpr double kNanosecondsPerMillisecond = 1e6;

double per_second(uint64_t packets, double seconds) {
  return seconds > 0 ? static_cast<double>(packets) / seconds : 0;
}

double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

template <class Function>
void for_each_attached(const Attachments& attachments, Function function) {
  for (const InterfaceHooks::Entry& interface : attachments.hooks.all()) {
    for (const vm::Hook& hook : *interface.hooks) {
      for (const vm::Hook::ProgramRuns& one : hook.program_runs()) {
        function(interface.name, hook.point(), attachments.name_of(*one.program), one.statistics);
      }
    }
  }
}

template <class Function>
void for_each_drop(const RunSummary& summary, Function function) {
  for (size_t i = 0; i < kDropReasons; i++) {
    if (summary.drops[i] != 0) {
      function(drop_reason_name(static_cast<DropReason>(i)), summary.drops[i]);
    }
  }
}

template <class Function>
void for_each_copy(const RunSummary& summary, Function function) {
  constexpr std::array<std::string_view, kEnds> kNames = {"delivered", "transmitted", "dropped"};
  for (size_t i = 0; i < kEnds; i++) {
    if (summary.copies[i] != 0) function(kNames[i], summary.copies[i]);
  }
}

Json to_json(const LatencySummary& latency) {
  return {{"count", latency.count},   {"sum", latency.sum_ps}, {"min", latency.minimum_ps},
          {"p50", latency.median_ps}, {"p90", latency.p90_ps}, {"p99", latency.p99_ps},
          {"max", latency.maximum_ps}};
}

}  // namespace

Json to_json(const Report& report, const Attachments& attachments) {
  Json json;
  json["schema_version"] = kSchemaVersion;
  json["version"] = XNIC_VERSION;
  json["command"] = report.command;
  json["engine"] = report.engine;
  json["nic"] = report.nic;
  json["timed"] = report.timed;
  json["seed"] = report.seed;
  json["objects"] = Json::array();
  for (const auto& object : attachments.objects) {
    json["objects"].push_back({{"path", object->path()}, {"sha256", object->sha256()}});
  }
  json["captures"] = Json::array();
  Report::Capture all;
  for (const Report::Capture& capture : report.captures) {
    all.path += (all.path.empty() ? "" : ", ") + capture.path;
    all.packets += capture.packets;
    all.bytes += capture.bytes;
    json["captures"].push_back({{"interface", capture.interface},
                                {"path", capture.path},
                                {"packets", capture.packets},
                                {"bytes", capture.bytes}});
  }
  json["capture"] = {{"path", all.path},
                     {"packets", all.packets},
                     {"bytes", all.bytes},
                     {"filter", report.filter}};
  json["hooks"] = Json::array();
  for_each_attached(
      attachments, [&](const std::string& interface, vm::HookPoint hook, const std::string& program,
                       const vm::HookStatistics& statistics) {
        Json verdicts = Json::object();
        for (const auto& [verdict, count] : statistics.verdicts)
          verdicts[std::string(verdict)] = count;
        json["hooks"].push_back({{"interface", interface},
                                 {"hook", vm::hook_name(hook)},
                                 {"program", program},
                                 {"runs", statistics.runs},
                                 {"verdicts", std::move(verdicts)},
                                 {"faults", statistics.faults},
                                 {"instructions", statistics.instructions}});
      });
  const RunSummary& summary = report.summary;
  json["packets"] = summary.frames;
  json["delivered"] = summary.delivered;
  json["transmitted"] = summary.transmitted;
  json["drops"] = Json::object();
  for_each_drop(summary, [&](std::string_view reason, uint64_t count) {
    json["drops"][std::string(reason)] = count;
  });
  json["copies"] = Json::object();
  for_each_copy(summary, [&](std::string_view end, uint64_t count) {
    json["copies"][std::string(end)] = count;
  });
  if (report.timed) {
    json["latency_ps"] = to_json(summary.latency);
    json["latency"] = Json::object();
    for (const StageLatency& stage : summary.stages) {
      json["latency"][std::string(stage.name)] = to_json(stage.latency);
    }
    json["resources"] = resources_to_json(summary);
    json["bottleneck"] = bottleneck(summary);
  }
  json["warnings"] = report.warnings;
  json["simulated_ns"] = summary.simulated_ns;
  json["wall_seconds"] = report.wall_seconds;
  json["packets_per_wall_second"] = per_second(summary.frames, report.wall_seconds);
  return json;
}

std::string to_table(const Report& report, const Attachments& attachments) {
  std::string text;
  const auto line = [&text](const std::string& words) { text += words + "\n"; };
  const RunSummary& summary = report.summary;
  // Hooks of one interface alone need not be told apart.
  std::set<std::string> interfaces;
  for_each_attached(attachments,
                    [&](const std::string& interface, vm::HookPoint, const std::string&,
                        const vm::HookStatistics&) { interfaces.insert(interface); });
  const auto place = [&](const std::string& interface, vm::HookPoint hook) {
    const std::string name(vm::hook_name(hook));
    return interfaces.size() > 1 ? interface + "/" + name : name;
  };
  size_t width = 12;
  for_each_attached(attachments, [&](const std::string& interface, vm::HookPoint hook,
                                     const std::string&, const vm::HookStatistics&) {
    width = std::max(width, place(interface, hook).size());
  });
  line(fmt::format("{:<{}} {:<24} {:<18} {:>12} {:>7}", "hook", width, "program", "verdict",
                   "packets", "share"));
  for_each_attached(
      attachments, [&](const std::string& interface, vm::HookPoint hook, const std::string& program,
                       const vm::HookStatistics& statistics) {
        std::string where = place(interface, hook);
        std::string what = program;
        for (const auto& [verdict, count] : statistics.verdicts) {
          line(fmt::format("{:<{}} {:<24} {:<18} {:>12} {:>6.1f}%", where, width, what, verdict,
                           count, share(count, statistics.runs)));
          where.clear();
          what.clear();
        }
        if (statistics.runs == 0) {
          line(fmt::format("{:<{}} {:<24} {:<18} {:>12}", where, width, what, "never ran", 0));
        }
      });
  line("");
  line(fmt::format("packets      {}", summary.frames));
  line(fmt::format("delivered    {}", summary.delivered));
  line(fmt::format("transmitted  {}", summary.transmitted));
  const uint64_t lost = summary.frames - summary.delivered - summary.transmitted;
  std::string reasons;
  for_each_drop(summary, [&](std::string_view reason, uint64_t count) {
    reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", reason, count);
  });
  line(fmt::format("dropped      {}{}", lost, reasons.empty() ? "" : " (" + reasons + ")"));
  std::string copies;
  for_each_copy(summary, [&](std::string_view end, uint64_t count) {
    copies += fmt::format("{}{} {}", copies.empty() ? "" : ", ", end, count);
  });
  if (!copies.empty()) line("copies       " + copies);
  line("");
  line(fmt::format("simulated    {:.6f} ms{}",
                   static_cast<double>(summary.simulated_ns) / kNanosecondsPerMillisecond,
                   report.timed ? " on " + report.nic : ", " + report.clock));
  if (report.timed && summary.delivered + summary.transmitted != 0) {
    const auto us = [](uint64_t ps) {
      return static_cast<double>(ps) / kPicosecondsPerMicrosecond;
    };
    line(fmt::format("latency      min {:.3f} us, p50 {:.3f} us, p99 {:.3f} us, max {:.3f} us",
                     us(summary.latency.minimum_ps), us(summary.latency.median_ps),
                     us(summary.latency.p99_ps), us(summary.latency.maximum_ps)));
    std::string stages;
    for (const StageLatency& stage : summary.stages) {
      if (stage.latency.count == 0) continue;
      stages += fmt::format("{}{} {:.3f} us", stages.empty() ? "" : ", ", stage.name,
                            us(stage.latency.median_ps));
    }
    line(fmt::format("stages, p50  {}", stages));
  }
  if (report.timed) {
    std::string busy;
    for (const nic::Resource& resource : summary.resources) {
      if (!is_server(resource) || resource.served == 0) continue;
      busy += fmt::format("{}{} {:.1f} %", busy.empty() ? "" : ", ", resource.name,
                          100 * utilisation(resource, summary.simulated_ns));
    }
    line(fmt::format("busy         {}", busy));
    std::string paused;
    for (const nic::Resource& resource : summary.resources) {
      if (resource.kind != nic::Resource::Kind::pause || resource.served == 0) continue;
      paused += fmt::format("{}{} {:.1f} %", paused.empty() ? "" : ", ", resource.name,
                            100 * utilisation(resource, summary.simulated_ns));
    }
    if (!paused.empty()) line(fmt::format("wire stopped {}", paused));
    line(fmt::format("bottleneck   {}", bottleneck(summary)));
  }
  line(fmt::format("wall         {:.3f} s, {:.0f} packets/s, engine {}", report.wall_seconds,
                   per_second(summary.frames, report.wall_seconds), report.engine));
  return text;
}

}  // namespace xnic::sim
