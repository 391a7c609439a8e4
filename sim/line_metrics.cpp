// Test: tests/sim/line_control_test.cpp.
#include "sim/line_metrics.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace xnic::sim {
namespace {

void describe(std::string& text, std::string_view name, std::string_view type,
              std::string_view help) {
  text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

// A label's value: a backslash, a quote and a line feed are escaped.
std::string label(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    if (c == '\\' || c == '"') escaped += '\\';
    escaped += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return escaped;
}

struct LcoreCounter {
  std::string_view name;
  std::string_view help;
  uint64_t LineCount::*value;
};
constexpr std::array kLcoreCounters = {
    LcoreCounter{"xnic_received_packets_total", "Frames taken from ports.", &LineCount::received},
    LcoreCounter{"xnic_received_bytes_total", "Their bytes.", &LineCount::received_bytes},
    LcoreCounter{"xnic_delivered_packets_total", "Packets that passed all programs.",
                 &LineCount::delivered},
    LcoreCounter{"xnic_transmitted_packets_total", "Packets sent out of ports.",
                 &LineCount::transmitted},
    LcoreCounter{"xnic_transmitted_bytes_total", "Their bytes.", &LineCount::transmitted_bytes},
    LcoreCounter{"xnic_busy_cycles_total", "Cycles of the time stamp counter with frames to run.",
                 &LineCount::busy_cycles},
    LcoreCounter{"xnic_idle_cycles_total", "Cycles that found no frame.", &LineCount::idle_cycles},
};

struct PortCounter {
  std::string_view name;
  std::string_view help;
  uint64_t nic::PortCounters::*value;
};
constexpr std::array kPortCounters = {
    PortCounter{"xnic_port_received_packets_total", "Frames, as the device counts.",
                &nic::PortCounters::received},
    PortCounter{"xnic_port_sent_packets_total", "Frames, as the device counts.",
                &nic::PortCounters::sent},
    PortCounter{"xnic_port_missed_packets_total", "Frames for which no descriptor was free.",
                &nic::PortCounters::missed},
    PortCounter{"xnic_port_no_memory_total", "Frames for which no buffer was free.",
                &nic::PortCounters::no_memory},
    PortCounter{"xnic_port_receive_errors_total", "Frames that the device refused.",
                &nic::PortCounters::receive_errors},
    PortCounter{"xnic_port_send_errors_total", "Frames that the device could not send.",
                &nic::PortCounters::send_errors},
};

}  // namespace

std::string metrics_of(Line& line, std::span<nic::Port* const> ports) {
  std::string text;
  for (const LcoreCounter& counter : kLcoreCounters) {
    describe(text, counter.name, "counter", counter.help);
    for (size_t i = 0; i < line.threads(); ++i) {
      text += fmt::format("{}{{lcore=\"{}\"}} {}\n", counter.name, i, line.count(i).*counter.value);
    }
  }
  describe(text, "xnic_dropped_packets_total", "counter", "Packets lost, by reason.");
  const LineCount all = line.count();
  for (size_t i = 1; i < kDropReasons; ++i) {
    text += fmt::format("xnic_dropped_packets_total{{reason=\"{}\"}} {}\n",
                        drop_reason_name(static_cast<DropReason>(i)), all.drops[i]);
  }
  describe(text, "xnic_verdicts_total", "counter", "What programs returned.");
  for (const auto& [verdict, count] : line.verdicts()) {
    text += fmt::format("xnic_verdicts_total{{verdict=\"{}\"}} {}\n", verdict, count);
  }
  for (const PortCounter& counter : kPortCounters) {
    describe(text, counter.name, "counter", counter.help);
    for (const nic::Port* port : ports) {
      text += fmt::format("{}{{port=\"{}\"}} {}\n", counter.name, label(port->facts().name),
                          port->counters().*counter.value);
    }
  }
  describe(text, "xnic_port_up", "gauge", "Whether the link is up.");
  for (const nic::Port* port : ports) {
    text += fmt::format("xnic_port_up{{port=\"{}\"}} {}\n", label(port->facts().name),
                        port->link().up ? 1 : 0);
  }
  return text;
}

std::string answer_http(const std::string& request, Line& line, std::span<nic::Port* const> ports) {
  const auto answer = [](std::string_view status, std::string_view type, const std::string& body) {
    return fmt::format(
        "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        status, type, body.size(), body);
  };
  constexpr std::string_view kPlain = "text/plain; charset=utf-8";
  if (!request.starts_with("GET ")) {
    return answer("405 Method Not Allowed", kPlain, "only GET is answered\n");
  }
  const std::string path = request.substr(4, request.find_first_of(" ?\r", 4) - 4);
  if (path != "/metrics") return answer("404 Not Found", kPlain, "the metrics are at /metrics\n");
  return answer("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics_of(line, ports));
}

}  // namespace xnic::sim
