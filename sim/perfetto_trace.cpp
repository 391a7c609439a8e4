// What of perfetto's protos/perfetto/trace is written, by field number.
#include "sim/perfetto_trace.h"

#include <fmt/format.h>

#include <protozero/pbf_writer.hpp>
#include <utility>

namespace xnic::sim {
namespace {

namespace trace {
constexpr protozero::pbf_tag_type kPacket = 1;
}
namespace trace_packet {
constexpr protozero::pbf_tag_type kTimestamp = 8;
constexpr protozero::pbf_tag_type kSequence = 10;
constexpr protozero::pbf_tag_type kTrackEvent = 11;
constexpr protozero::pbf_tag_type kTrackDescriptor = 60;
}  // namespace trace_packet
namespace track_descriptor {
constexpr protozero::pbf_tag_type kUuid = 1;
constexpr protozero::pbf_tag_type kName = 2;
constexpr protozero::pbf_tag_type kCounter = 8;
}  // namespace track_descriptor
namespace counter_descriptor {
constexpr protozero::pbf_tag_type kUnitName = 6;
}
namespace track_event {
constexpr protozero::pbf_tag_type kDebugAnnotation = 4;
constexpr protozero::pbf_tag_type kType = 9;
constexpr protozero::pbf_tag_type kTrack = 11;
constexpr protozero::pbf_tag_type kName = 23;
constexpr protozero::pbf_tag_type kCounterValue = 30;
constexpr protozero::pbf_tag_type kFlow = 47;
constexpr protozero::pbf_tag_type kLastOfFlow = 48;
enum Type { slice_begin = 1, slice_end = 2, counter = 4 };
}  // namespace track_event
namespace debug_annotation {
constexpr protozero::pbf_tag_type kUnsigned = 3;
constexpr protozero::pbf_tag_type kName = 10;
}  // namespace debug_annotation

constexpr uint32_t kOurSequence = 1;
constexpr uint32_t kLanes = 1u << 16;  // of a place, at most

}  // namespace

Result<std::unique_ptr<PerfettoTrace>> PerfettoTrace::create(const std::string& path) {
  auto file = traces::OutputFile::create(path);
  if (!file) return tl::unexpected(file.error());
  return std::unique_ptr<PerfettoTrace>(new PerfettoTrace(std::move(*file)));
}

void PerfettoTrace::begin(const std::vector<Place>& places) {
  places_ = places;
  for (uint32_t place = 0; place < places_.size(); ++place) track(place, 0);
}

uint64_t PerfettoTrace::track(uint32_t place, uint32_t lane) {
  const uint64_t uuid = uint64_t{place + 1} * kLanes + lane;
  if (!described_.insert(uuid).second) return uuid;
  const Place& what = places_[place];
  std::string bytes;
  protozero::pbf_writer packet(bytes);
  {
    protozero::pbf_writer descriptor(packet, trace_packet::kTrackDescriptor);
    descriptor.add_uint64(track_descriptor::kUuid, uuid);
    descriptor.add_string(track_descriptor::kName,
                          lane == 0 ? what.name : fmt::format("{}, lane {}", what.name, lane + 1));
    if (what.store) {
      protozero::pbf_writer counter(descriptor, track_descriptor::kCounter);
      counter.add_string(counter_descriptor::kUnitName, "packets");
    }
  }
  write(bytes);
  return uuid;
}

// An event of this type on a track; `fill` adds what else it says.
template <class Fill>
void PerfettoTrace::write_event(uint32_t place, uint32_t lane, nic::Picoseconds time, int32_t type,
                                Fill fill) {
  const uint64_t uuid = track(place, lane);
  scratch_.clear();
  protozero::pbf_writer writer(scratch_);
  writer.add_uint64(trace_packet::kTimestamp, time / nic::kPicosecondsPerNanosecond);
  writer.add_uint32(trace_packet::kSequence, kOurSequence);
  {
    protozero::pbf_writer event(writer, trace_packet::kTrackEvent);
    event.add_enum(track_event::kType, type);
    event.add_uint64(track_event::kTrack, uuid);
    fill(event);
  }
  write(scratch_);
}

void PerfettoTrace::served(uint32_t place, uint32_t lane, nic::Picoseconds time, uint64_t packet,
                           const char* label, bool last) {
  write_event(place, lane, time, track_event::slice_begin, [&](protozero::pbf_writer& event) {
    event.add_string(track_event::kName, label);
    event.add_fixed64(last ? track_event::kLastOfFlow : track_event::kFlow, packet);
    protozero::pbf_writer annotation(event, track_event::kDebugAnnotation);
    annotation.add_string(debug_annotation::kName, "packet");
    annotation.add_uint64(debug_annotation::kUnsigned, packet);
  });
}

void PerfettoTrace::idle(uint32_t place, uint32_t lane, nic::Picoseconds time) {
  write_event(place, lane, time, track_event::slice_end, [](protozero::pbf_writer&) {});
}

void PerfettoTrace::level(uint32_t place, nic::Picoseconds time, uint32_t packets) {
  if (!places_[place].store) return;
  write_event(place, 0, time, track_event::counter, [&](protozero::pbf_writer& event) {
    event.add_int64(track_event::kCounterValue, packets);
  });
}

void PerfettoTrace::write(const std::string& packet) {
  if (error_) return;
  std::string framed;
  protozero::pbf_writer(framed).add_message(trace::kPacket, packet);
  const auto written =
      file_->write({reinterpret_cast<const uint8_t*>(framed.data()), framed.size()});
  if (!written) error_ = written.error();
}

Result<void> PerfettoTrace::finish() {
  if (error_) return tl::unexpected(*error_);
  return file_->finish();
}

}  // namespace xnic::sim
