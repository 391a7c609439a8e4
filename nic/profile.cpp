// NIC profiles: every parameter of the timed model, from TOML, with its unit and its origin.
// One row per parameter drives parsing, checking and listing. It leaves out checks across
// parameters (a ring may be smaller than a NAPI poll: that is a question to ask the model).
// Test: tests/nic/profile_test.cpp.
#include "nic/profile.h"

#include <fmt/ranges.h>
#include <toml++/toml.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>

#include "nic/core_model.h"
#include "nic/tx_scheduler.h"

namespace xnic::nic {
namespace {

constexpr double kLongest = 1e6;  // nanoseconds: no single step takes longer than a millisecond
constexpr double kTiny = 1e-3;
constexpr double kMostCycles = 1e6;

constexpr std::array<std::string_view, 2> kSwitch = {"off", "on"};

constexpr std::array kRows = {
    ProfileRow{"port", "link_gbps", &NicProfile::link_gbps, false, kTiny, 1e5,
               "bit rate of the port, each way"},
    ProfileRow{"port", "pause", &NicProfile::pause, true, 0, kSwitch.size() - 1,
               "pause frames (IEEE 802.3x): the other end waits where frames would be lost",
               kSwitch},
    ProfileRow{"port", "pause_quanta", &NicProfile::pause_quanta, true, 0, 65535,
               "how long it takes until a pause frame stops the other end, or lets it go on, in "
               "quanta of 512 bits"},
    ProfileRow{"parser", "latency_ns", &NicProfile::parser_latency_ns, false, 0, kLongest,
               "header parsing and RSS, pipelined"},
    ProfileRow{"receive", "queues", &NicProfile::queues, true, 1, 128,
               "receive queues that RSS spreads packets over"},
    ProfileRow{"receive", "queue_packets", &NicProfile::queue_packets, true, 1, 1 << 20,
               "packets that the NIC holds for each queue"},
    ProfileRow{"offload", "core", &NicProfile::offload_core, true, 0, kCoreModels.size() - 1,
               "model of the cores that run offloaded programs", kCoreModels},
    ProfileRow{"offload", "cores", &NicProfile::offload_cores, true, 1, 256, "such cores"},
    ProfileRow{"offload", "threads", &NicProfile::offload_threads, true, 1, 64,
               "packets in one core at a time: one computes while others wait for memory"},
    ProfileRow{"offload", "keeps_order", &NicProfile::offload_keeps_order, true, 0, 1,
               "1: packets leave the engine in the order in which they came"},
    ProfileRow{"offload", "fixed_ns", &NicProfile::offload_fixed_ns, false, 0, kLongest,
               "run of an offloaded program, apart from its instructions"},
    ProfileRow{"offload", "clock_mhz", &NicProfile::offload_clock_mhz, false, 1, 1e5,
               "clock of a scalar core"},
    ProfileRow{"offload", "instruction_cycles", &NicProfile::offload_instruction_cycles, true, 0,
               kMostCycles, "one eBPF instruction on a scalar core"},
    ProfileRow{"offload", "helper_cycles", &NicProfile::offload_helper_cycles, true, 0, kMostCycles,
               "what a scalar core waits for a helper or kfunc, besides the instruction"},
    ProfileRow{"offload", "map_cycles", &NicProfile::offload_map_cycles, true, 0, kMostCycles,
               "what a scalar core waits for a helper that accesses a map"},
    ProfileRow{"pcie", "lane_gtps", &NicProfile::lane_gtps, false, 2.5, 64,
               "transfers a second of a lane, in billions"},
    ProfileRow{"pcie", "lanes", &NicProfile::lanes, true, 1, 32, "lanes of the link"},
    ProfileRow{"pcie", "acknowledge_interval_bytes", &NicProfile::acknowledge_interval_bytes, false,
               32, 1e6, "an acknowledge goes the other way after so much on the link"},
    ProfileRow{"pcie", "credit_update_interval_bytes", &NicProfile::credit_update_interval_bytes,
               false, 32, 1e6, "an update of flow-control credits after so much on the link"},
    ProfileRow{"pcie", "max_payload_bytes", &NicProfile::max_payload_bytes, true, 128, 4096,
               "data of a TLP"},
    ProfileRow{"pcie", "max_read_request_bytes", &NicProfile::max_read_request_bytes, true, 128,
               4096, "data that one read asks for"},
    ProfileRow{"pcie", "write_header_bytes", &NicProfile::write_header_bytes, true, 0, 64,
               "framing and headers of a memory write"},
    ProfileRow{"pcie", "read_request_header_bytes", &NicProfile::read_request_header_bytes, true, 0,
               64, "framing and headers of a memory read request"},
    ProfileRow{"pcie", "completion_header_bytes", &NicProfile::completion_header_bytes, true, 0, 64,
               "framing and headers of a read completion"},
    ProfileRow{"pcie", "read_completion_bytes", &NicProfile::read_completion_bytes, true, 64, 4096,
               "data of a read completion, from the read completion boundary to max_payload_bytes"},
    ProfileRow{"pcie", "write_latency_ns", &NicProfile::write_latency_ns, false, 0, kLongest,
               "from the NIC's write to its visibility in host memory"},
    ProfileRow{"pcie", "read_latency_ns", &NicProfile::read_latency_ns, false, 0, kLongest,
               "from the NIC's read to the first data"},
    ProfileRow{"pcie", "read_tags", &NicProfile::read_tags, true, 1, 1024,
               "reads that are under way at a time"},
    ProfileRow{"pcie", "posted_header_credits", &NicProfile::posted_header_credits, true, 1, 4096,
               "writes that the root complex has room for"},
    ProfileRow{"pcie", "posted_data_credits", &NicProfile::posted_data_credits, true, 1, 65536,
               "room for their data, in units of 16 bytes"},
    ProfileRow{"pcie", "credit_latency_ns", &NicProfile::credit_latency_ns, false, 0, kLongest,
               "from a write's arrival until the NIC has its credits again"},
    ProfileRow{"pcie", "staging_gbps", &NicProfile::staging_gbps, false, 0, 1e5,
               "rate at which the NIC moves what it has read on into its memory; 0: at once"},
    ProfileRow{"iommu", "entries", &NicProfile::iommu_entries, true, 0, 1 << 20,
               "pages that the IOMMU's TLB holds; 0: no IOMMU"},
    ProfileRow{"iommu", "page_kib", &NicProfile::iommu_page_kib, true, 4, 1 << 20,
               "size of a page, in KiB"},
    ProfileRow{"iommu", "walk_ns", &NicProfile::iommu_walk_ns, false, 0, kLongest,
               "walk of the page table for a page that the TLB does not hold"},
    ProfileRow{"iommu", "walkers", &NicProfile::iommu_walkers, true, 1, 256, "walks at a time"},
    ProfileRow{"memory", "ddio_kib", &NicProfile::ddio_kib, true, 1, 1 << 20,
               "part of the last-level cache that the NIC writes into, as far as packets use it, "
               "in KiB"},
    ProfileRow{"memory", "cpu_miss_ns", &NicProfile::cpu_miss_ns, false, 0, kLongest,
               "what a CPU's first touch of a packet takes longer from DRAM"},
    ProfileRow{"memory", "card_miss_ns", &NicProfile::card_miss_ns, false, 0, kLongest,
               "what the NIC's read takes longer from DRAM"},
    ProfileRow{"memory", "dram_gbps", &NicProfile::dram_gbps, false, kTiny, 1e6,
               "bandwidth of DRAM"},
    ProfileRow{"memory", "numa_ns", &NicProfile::numa_ns, false, 0, kLongest,
               "what DMA takes longer to memory of another socket; 0: it is this one's"},
    ProfileRow{"ring", "descriptors", &NicProfile::ring_descriptors, true, 1, 1 << 20,
               "receive descriptors of each queue"},
    ProfileRow{"ring", "completion_bytes", &NicProfile::ring_completion_bytes, true, 0, 256,
               "completion entry that the NIC writes for a packet"},
    ProfileRow{"ring", "descriptor_bytes", &NicProfile::ring_descriptor_bytes, true, 1, 256,
               "receive descriptor"},
    ProfileRow{"ring", "prefetch_descriptors", &NicProfile::ring_prefetch_descriptors, true, 1,
               65536, "receive descriptors that the NIC holds for each queue"},
    ProfileRow{"ring", "fetch_descriptors", &NicProfile::ring_fetch_descriptors, true, 1, 4096,
               "receive descriptors that it reads at a time"},
    ProfileRow{"transmit", "scheduler", &NicProfile::transmit_scheduler, true, 0,
               kTxPolicies.size() - 1, "which of the packets in the NIC goes next", kTxPolicies},
    ProfileRow{
        "transmit",
        "weights",
        &NicProfile::transmit_weights,
        true,
        1,
        65536,
        "packets that a transmit queue may send in its turn of weighted_round_robin: of queue "
        "0, 1 and so on, and from the first on again",
        {},
        true},
    ProfileRow{"transmit", "descriptor_bytes", &NicProfile::transmit_descriptor_bytes, true, 1, 256,
               "transmit descriptor"},
    ProfileRow{"transmit", "fetch_descriptors", &NicProfile::transmit_fetch_descriptors, true, 0,
               4096, "transmit descriptors read at a time; 0: each comes with a doorbell"},
    ProfileRow{"transmit", "completion_bytes", &NicProfile::transmit_completion_bytes, true, 0, 256,
               "completion entry that the NIC writes for a packet that it sent"},
    ProfileRow{"transmit", "writeback_descriptors", &NicProfile::transmit_writeback_descriptors,
               true, 0, 4096, "such entries that it writes at a time; 0: none"},
    ProfileRow{"interrupt", "latency_ns", &NicProfile::interrupt_latency_ns, false, 0, kLongest,
               "from the completion in memory to the driver's poll"},
    ProfileRow{"interrupt", "moderation_ns", &NicProfile::interrupt_moderation_ns, false, 0,
               kLongest, "least time between two interrupts of a queue; 0 is off"},
    ProfileRow{"interrupt", "moderation_packets", &NicProfile::interrupt_moderation_packets, true,
               0, 65536, "packets that wait for no such time when they are so many; 0 is off"},
    ProfileRow{"host", "cores", &NicProfile::cores, true, 1, 128,
               "CPUs; queue q is polled by CPU q modulo this"},
    ProfileRow{"host", "napi_weight_packets", &NicProfile::napi_weight_packets, true, 1, 65536,
               "most packets of one poll"},
    ProfileRow{"host", "poll_ns", &NicProfile::poll_ns, false, 0, kLongest,
               "a poll, apart from its packets"},
    ProfileRow{"host", "packet_ns", &NicProfile::packet_ns, false, 0, kLongest,
               "driver's receive of a packet, up to a trivial XDP program's drop"},
    ProfileRow{"host", "hook_ns", &NicProfile::hook_ns, false, 0, kLongest,
               "run of a program, apart from its instructions"},
    ProfileRow{"host", "instruction_ns", &NicProfile::instruction_ns, false, 0, kLongest,
               "one eBPF instruction on a host CPU"},
    ProfileRow{"host", "xdp_pass_ns", &NicProfile::xdp_pass_ns, false, 0, kLongest,
               "what XDP_PASS adds before the stack"},
    ProfileRow{"host", "xdp_tx_ns", &NicProfile::xdp_tx_ns, false, 0, kLongest,
               "what XDP_TX takes longer than a drop"},
    ProfileRow{"host", "xdp_redirect_ns", &NicProfile::xdp_redirect_ns, false, 0, kLongest,
               "what XDP_REDIRECT takes longer than a drop"},
    ProfileRow{"host", "build_skb_ns", &NicProfile::build_skb_ns, false, 0, kLongest,
               "making an sk_buff"},
    ProfileRow{"host", "receive_skb_ns", &NicProfile::receive_skb_ns, false, 0, kLongest,
               "netif_receive_skb up to the receiver"},
    ProfileRow{"host", "page_ns", &NicProfile::page_ns, false, 0, kLongest,
               "a new page for the ring, in place of one that goes up the stack"},
    ProfileRow{"host", "free_skb_ns", &NicProfile::free_skb_ns, false, 0, kLongest,
               "a sink that takes an sk_buff: a socket, or a drop in the stack"},
    ProfileRow{"host", "forward_ns", &NicProfile::forward_ns, false, 0, kLongest,
               "forwarding by the stack: route, neighbour, and transmission"},
};

constexpr std::array kOrigins = {
    std::pair{Origin::measured, std::string_view("measured")},
    std::pair{Origin::published, std::string_view("published")},
    std::pair{Origin::spec, std::string_view("spec")},
    std::pair{Origin::assumed, std::string_view("assumed")},
    std::pair{Origin::fitted, std::string_view("fitted")},
};

constexpr std::string_view kForm = "{ value = NUMBER, origin = \"ORIGIN\", source = \"TITLE\" }";

// The file's name and a place in it, to begin a sentence with.
std::string place(std::string_view file, const toml::source_region& region) {
  return fmt::format("{}:{}:{}", file, region.begin.line, region.begin.column);
}

tl::unexpected<Error> refuse(std::string_view file, const toml::source_region& region,
                             std::string text) {
  return fail(ExitCode::bad_input, "{}: {}", place(file, region), text);
}

// What is wrong with the value, as the end of a sentence; empty if nothing is.
std::string fault_of(const ProfileRow& row, double value) {
  if (!(value >= row.minimum && value <= row.maximum)) {
    return fmt::format("is outside {} to {}", row.minimum, row.maximum);
  }
  return row.whole && value != std::floor(value) ? "must be a whole number" : "";
}

std::optional<Origin> parse_origin(std::string_view name) {
  for (const auto& [origin, text] : kOrigins) {
    if (text == name) return origin;
  }
  return std::nullopt;
}

// The index of one of a row's words.
std::optional<double> choice_of(const ProfileRow& row, std::string_view word) {
  const auto found = std::find(row.choices.begin(), row.choices.end(), word);
  if (found == row.choices.end()) return std::nullopt;
  return static_cast<double>(found - row.choices.begin());
}

// "one of ideal, scalar", as the end of a sentence.
std::string choices_of(const ProfileRow& row) {
  std::string words;
  for (const std::string_view word : row.choices) {
    words += fmt::format("{}{}", words.empty() ? "one of " : ", ", word);
  }
  return words;
}

Result<double> parse_value(const ProfileRow& row, const toml::node& entry, std::string_view name,
                           std::string_view file) {
  const auto value = !row.choices.empty() ? choice_of(row, entry.value_or(std::string_view()))
                     : entry.is_number()  ? entry.value<double>()
                                          : std::nullopt;
  if (!value) {
    const std::string what = !row.choices.empty() ? choices_of(row)
                             : row.list           ? "a number or a list of numbers"
                                                  : "a number";
    return refuse(file, entry.source(), fmt::format("The value of {} must be {}.", name, what));
  }
  if (const std::string fault = fault_of(row, *value); !fault.empty()) {
    return refuse(file, entry.source(), fmt::format("The value {} of {} {}.", *value, name, fault));
  }
  return *value;
}

Result<Quantity> parse_quantity(const ProfileRow& row, const toml::node& node,
                                std::string_view file) {
  const auto name = fmt::format("{}.{}", row.table, row.key);
  const toml::table* table = node.as_table();
  if (table == nullptr) {
    return refuse(file, node.source(), fmt::format("{} must have the form {}.", name, kForm));
  }
  Quantity quantity;
  bool has_value = false;
  bool has_origin = false;
  for (const auto& [key, entry] : *table) {
    if (key == "value") {
      const toml::array* list = row.list ? entry.as_array() : nullptr;
      const size_t count = list == nullptr ? 1 : list->size();
      if (count == 0) {
        return refuse(file, entry.source(), fmt::format("The list of {} is empty.", name));
      }
      for (size_t i = 0; i < count; ++i) {
        const auto value = parse_value(row, list == nullptr ? entry : *list->get(i), name, file);
        if (!value) return tl::unexpected(value.error());
        if (i == 0) {
          quantity.value = *value;
        } else {
          quantity.rest.push_back(*value);
        }
      }
      has_value = true;
    } else if (key == "origin") {
      const auto origin = parse_origin(entry.value_or(std::string_view()));
      if (!origin) {
        return refuse(file, entry.source(),
                      fmt::format("The origin of {} must be \"measured\", \"published\", \"spec\", "
                                  "\"assumed\" or \"fitted\".",
                                  name));
      }
      quantity.origin = *origin;
      has_origin = true;
    } else if (key == "source") {
      if (!entry.is_string()) {
        return refuse(file, entry.source(), fmt::format("The source of {} must be a text.", name));
      }
      quantity.source = entry.value_or(std::string());
    } else {
      return refuse(
          file, key.source(),
          fmt::format("{} has no key \"{}\"; it has the form {}.", name, key.str(), kForm));
    }
  }
  if (!has_value || !has_origin) {
    return refuse(file, node.source(),
                  fmt::format("{} lacks its {}; it must have the form {}.", name,
                              has_value ? "origin" : "value", kForm));
  }
  return quantity;
}

bool is_table_name(std::string_view name) {
  return std::any_of(kRows.begin(), kRows.end(),
                     [&](const ProfileRow& row) { return row.table == name; });
}

Result<void> parse_table(std::string_view table_name, const toml::table& table,
                         std::string_view file, NicProfile& profile,
                         std::array<bool, kRows.size()>& given) {
  for (const auto& [key, node] : table) {
    const auto row = std::find_if(kRows.begin(), kRows.end(), [&](const ProfileRow& candidate) {
      return candidate.table == table_name && candidate.key == key.str();
    });
    if (row == kRows.end()) {
      return refuse(file, key.source(),
                    fmt::format("[{}] of a NIC profile has no key \"{}\".", table_name, key.str()));
    }
    auto quantity = parse_quantity(*row, node, file);
    if (!quantity) return tl::unexpected(quantity.error());
    profile.*row->field = std::move(*quantity);
    given[static_cast<size_t>(row - kRows.begin())] = true;
  }
  return {};
}

Result<NicProfile> base_profile(const toml::node& node, std::string_view file) {
  const auto wanted = node.value_or(std::string_view());
  std::string names;
  for (const auto& builtin : builtin_profiles()) {
    if (builtin.name == wanted) return parse_profile(builtin.text, builtin.name);
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", builtin.name);
  }
  return refuse(file, node.source(), fmt::format("based_on must be one of {}.", names));
}

Result<NicProfile> parse_root(const toml::table& root, std::string_view file) {
  NicProfile profile;
  std::array<bool, kRows.size()> given{};
  if (const toml::node* base = root.get("based_on")) {
    auto parsed = base_profile(*base, file);
    if (!parsed) return parsed;
    profile = std::move(*parsed);
    given.fill(true);
  }
  for (const auto& [key, node] : root) {
    if (key == "based_on") continue;
    if (key == "name" || key == "description") {
      if (!node.is_string()) {
        return refuse(file, node.source(), fmt::format("{} must be a text.", key.str()));
      }
      (key == "name" ? profile.name : profile.description) = node.value_or(std::string());
    } else if (!is_table_name(key.str())) {
      return refuse(file, key.source(), fmt::format("A NIC profile has no key \"{}\".", key.str()));
    } else if (const toml::table* table = node.as_table()) {
      auto parsed = parse_table(key.str(), *table, file, profile, given);
      if (!parsed) return tl::unexpected(parsed.error());
    } else {
      return refuse(file, node.source(), fmt::format("{} must be a table.", key.str()));
    }
  }
  const auto missing = std::find(given.begin(), given.end(), false);
  if (missing != given.end()) {
    const ProfileRow& row = kRows[static_cast<size_t>(missing - given.begin())];
    return refuse(file, root.source(),
                  fmt::format("{}.{} ({}) is missing; give it, or begin the file with based_on = "
                              "\"generic-100g\".",
                              row.table, row.key, row.meaning));
  }
  return profile;
}

Result<void> set_value(NicProfile& profile, std::string_view assignment) {
  const size_t sign = assignment.find('=');
  const std::string_view name = assignment.substr(0, sign);
  const auto row = std::find_if(kRows.begin(), kRows.end(), [&](const ProfileRow& candidate) {
    return fmt::format("{}.{}", candidate.table, candidate.key) == name;
  });
  if (row == kRows.end()) {
    return fail(ExitCode::usage,
                "--set {}: a NIC profile has no value {}; xnic nic show lists them", assignment,
                name);
  }
  const std::string_view text =
      sign == std::string_view::npos ? std::string_view() : assignment.substr(sign + 1);
  if (!row->choices.empty()) {
    const auto choice = choice_of(*row, text);
    if (!choice) return fail(ExitCode::usage, "--set {}: give {}", assignment, choices_of(*row));
    profile.*row->field = {.value = *choice, .origin = Origin::assumed, .source = "--set"};
    return {};
  }
  Quantity set{.value = 0, .origin = Origin::assumed, .source = "--set"};
  for (size_t begin = 0, count = 0; begin <= text.size(); ++count) {
    const size_t comma = row->list ? text.find(',', begin) : std::string_view::npos;
    const std::string_view one = text.substr(begin, comma - begin);
    begin = comma == std::string_view::npos ? text.size() + 1 : comma + 1;
    double value = 0;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), value);
    if (error != std::errc() || end != one.data() + one.size()) {
      return fail(ExitCode::usage, "--set {}: give a number{}, as in {}={}", assignment,
                  row->list ? ", or several with commas between them" : "", name,
                  (profile.*row->field).value);
    }
    if (const std::string fault = fault_of(*row, value); !fault.empty()) {
      return fail(ExitCode::usage, "--set {}: the value {} {}", assignment, value, fault);
    }
    if (count == 0) {
      set.value = value;
    } else {
      set.rest.push_back(value);
    }
  }
  profile.*row->field = set;
  return {};
}

Result<NicProfile> find_profile(const std::string& name_or_path) {
  std::string names;
  for (const auto& builtin : builtin_profiles()) {
    if (builtin.name == name_or_path) return parse_profile(builtin.text, builtin.name);
    names += fmt::format("{}{}", names.empty() ? "" : ", ", builtin.name);
  }
  std::ifstream file(name_or_path, std::ios::binary);
  file.peek();  // a folder opens, but fails here
  if (!file.is_open() || file.bad()) {
    return fail(ExitCode::bad_input,
                "{}: The NIC profile can't be read, and no built-in profile has this name (there "
                "is {}).",
                name_or_path, names);
  }
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return parse_profile(text, name_or_path);
}

}  // namespace

std::string_view origin_name(Origin origin) {
  for (const auto& [candidate, text] : kOrigins) {
    if (candidate == origin) return text;
  }
  return "";
}

std::span<const ProfileRow> profile_rows() { return kRows; }

Result<NicProfile> parse_profile(std::string_view text, std::string_view file) {
  try {
    const toml::table root = toml::parse(text, file);
    return parse_root(root, file);
  } catch (const toml::parse_error& error) {
    return refuse(file, error.source(),
                  fmt::format("The file is not valid TOML: {}.", error.description()));
  }
}

Result<NicProfile> load_profile(const std::string& name_or_path,
                                const std::vector<std::string>& changes) {
  auto profile = find_profile(name_or_path);
  for (const std::string& change : changes) {
    if (!profile) break;
    if (auto set = set_value(*profile, change); !set) return tl::unexpected(set.error());
  }
  return profile;
}

std::string to_toml(const NicProfile& profile) {
  const auto quoted = [](const std::string& text) {
    std::ostringstream stream;
    stream << toml::default_formatter(toml::value<std::string>(text), toml::format_flags::none);
    return stream.str();
  };
  std::string text = fmt::format("name = {}\ndescription = {}\n", quoted(profile.name),
                                 quoted(profile.description));
  std::string_view table;
  for (const ProfileRow& row : kRows) {
    if (row.table != table) text += fmt::format("\n[{}]\n", table = row.table);
    const Quantity& quantity = profile.*row.field;
    std::string value = fmt::format("{}", quantity.value);
    if (!row.choices.empty()) value = quoted(std::string(row.choices[quantity.whole()]));
    if (!quantity.rest.empty()) value = fmt::format("[{}]", fmt::join(quantity.list(), ", "));
    text += fmt::format("# {}\n{} = {{ value = {}, origin = \"{}\", source = {} }}\n", row.meaning,
                        row.key, value, origin_name(quantity.origin), quoted(quantity.source));
  }
  return text;
}

}  // namespace xnic::nic
