#include "sim/recorder.h"

#include <fmt/compile.h>
#include <fmt/format.h>
#include <linux/pkt_cls.h>

#include <algorithm>
#include <filesystem>

#include "sim/json.h"

namespace xnic::sim {
namespace {

constexpr uint64_t kPicosecondsPerNanosecond = 1000;

// The code that took effect: what the table counts is what a filter on the file finds.
uint64_t effective_code(const HookEvent& event) {
  if (vm::hook_program_type(event.hook) != BPF_PROG_TYPE_XDP) {
    const bool known = event.result.verdict != "TC_ACT_UNSPEC";
    // Signed: TC_ACT_UNSPEC is -1 in all 64 bits of the option.
    const int64_t code = known ? static_cast<int32_t>(event.result.code) : TC_ACT_UNSPEC;
    return static_cast<uint64_t>(code);
  }
  return event.result.action == vm::Action::aborted ? uint64_t{XDP_ABORTED} : event.result.code;
}

// Only what the verdicts do not say themselves.
std::string comment_of(const Outcome& outcome) {
  const bool fault = std::any_of(outcome.events.begin(), outcome.events.end(),
                                 [](const HookEvent& event) { return event.result.fault; });
  if (fault) return "the program faulted; the packet was aborted";
  switch (outcome.reason) {
    case DropReason::none:
    case DropReason::xdp_drop:
    case DropReason::xdp_aborted:
    case DropReason::tc_shot:
      return {};
    default:
      return fmt::format("dropped: {}", drop_reason_name(outcome.reason));
  }
}

// Codes of tc are signed: TC_ACT_UNSPEC is -1.
int64_t shown_code(const HookEvent& event) {
  if (vm::hook_program_type(event.hook) == BPF_PROG_TYPE_XDP) return event.result.code;
  return static_cast<int32_t>(event.result.code);
}

}  // namespace

Recorder::Recorder(const std::string& directory, const Attachments& attachments,
                   const std::vector<uint32_t>& entrances)
    : attachments_(attachments),
      entrances_(entrances),
      verdicts_path_((std::filesystem::path(directory) / "verdicts.pcapng").string()),
      packets_path_((std::filesystem::path(directory) / "packets.ndjson").string()) {}

Result<std::unique_ptr<Recorder>> Recorder::create(const std::string& directory,
                                                   const Attachments& attachments,
                                                   const std::vector<uint32_t>& entrances) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(directory, error);
  if (error) {
    return fail(ExitCode::bad_input, "{}: cannot be made a directory for the output: {}", directory,
                error.message());
  }
  std::unique_ptr<Recorder> recorder(new Recorder(directory, attachments, entrances));
  if (made) recorder->made_ = directory;
  std::vector<std::string> names;
  for (const uint32_t ifindex : entrances) names.push_back(recorder->interface_name(ifindex));
  auto verdicts =
      traces::PcapngWriter::create(recorder->verdicts_path_, "xnic " XNIC_VERSION, names);
  if (!verdicts) return tl::unexpected(verdicts.error());
  auto packets = traces::OutputFile::create(recorder->packets_path_);
  if (!packets) return tl::unexpected(packets.error());
  recorder->verdicts_ = std::move(*verdicts);
  recorder->packets_ = std::move(*packets);
  return recorder;
}

Recorder::~Recorder() {
  // A failed run takes its temporary files away, and then a directory made for them alone.
  verdicts_.reset();
  packets_.reset();
  std::error_code not_empty;
  if (!made_.empty()) std::filesystem::remove(made_, not_empty);
}

void Recorder::starts(const traces::Frame& frame, int64_t timestamp_ns) {
  started_.push_back({std::max<int64_t>(timestamp_ns, 0), static_cast<uint32_t>(frame.bytes.size()),
                      frame.original_length});
}

void Recorder::done(const vm::Packet& packet, const Outcome& outcome) {
  if (outcome.packet_id != next_id_) {
    ended_.emplace(outcome.packet_id, Ended{packet.bytes(), outcome});
    return;
  }
  if (packet.fragments().empty()) {
    write(packet.linear(), outcome);
  } else {
    write(packet.bytes(), outcome);
  }
  for (auto first = ended_.begin(); first != ended_.end() && first->first == next_id_;
       first = ended_.begin()) {
    write(first->second.bytes, first->second.outcome);
    ended_.erase(first);
  }
}

// Of the first of those that started.
void Recorder::write(std::span<const uint8_t> bytes, const Outcome& outcome) {
  const Started& started = started_.front();
  const auto entrance = std::ranges::find(entrances_, outcome.in_ifindex) - entrances_.begin();
  annotation_.packet_id = outcome.packet_id;
  annotation_.queue = outcome.queue;
  annotation_.verdicts.clear();
  annotation_.comment = comment_of(outcome);
  annotation_.interface = static_cast<uint32_t>(entrance);
  lines_.clear();
  for (const HookEvent& event : outcome.events) {
    const bool xdp = vm::hook_program_type(event.hook) == BPF_PROG_TYPE_XDP;
    annotation_.verdicts.push_back(
        {xdp ? traces::Verdict::xdp : traces::Verdict::tc, effective_code(event)});
    fmt::format_to(
        fmt::appender(lines_),
        FMT_COMPILE(
            "{{\"packet\":{},{},\"verdict\":\"{}\",\"code\":{},\"len_in\":{},\"len_out\":{},"
            "\"sim_ns\":{}{}}}\n"),
        outcome.packet_id, place_of(event), event.result.verdict, shown_code(event),
        event.result.length_in, event.result.length_out, event.time_ps / kPicosecondsPerNanosecond,
        event.copy ? R"(,"copy":true)" : "");
  }
  const auto length = static_cast<uint32_t>(bytes.size());
  // What a short snap length cut off stays cut off.
  const uint32_t original = length + (started.original_length - started.length);
  keep(verdicts_->write(started.timestamp_ns, bytes, original, annotation_));
  keep(packets_->write({reinterpret_cast<const uint8_t*>(lines_.data()), lines_.size()}));
  started_.pop_front();
  ++next_id_;
}

std::string_view Recorder::place_of(const HookEvent& event) {
  const auto found = std::ranges::find_if(places_, [&](const Place& place) {
    return place.program == event.program && place.ifindex == event.ifindex &&
           place.hook == event.hook;
  });
  if (found != places_.end()) return found->text;
  Place& place = places_.emplace_back(Place{event.program, event.ifindex, event.hook, {}});
  place.text = fmt::format(R"("interface":{},"hook":"{}","program":{})",
                           json_string(interface_name(event.ifindex)), vm::hook_name(event.hook),
                           json_string(attachments_.name_of(*event.program)));
  return place.text;
}

std::string Recorder::interface_name(uint32_t ifindex) const {
  const auto interfaces = attachments_.hooks.all();
  const auto found = std::ranges::find(interfaces, ifindex, &InterfaceHooks::Entry::ifindex);
  return found == interfaces.end() ? std::string() : found->name;
}

void Recorder::keep(const Result<void>& result) {
  if (!result && !error_) error_ = result.error();
}

Result<void> Recorder::finish() {
  if (!error_) keep(verdicts_->finish());
  if (!error_) keep(packets_->finish());
  if (error_) return tl::unexpected(*error_);
  return {};
}

}  // namespace xnic::sim
