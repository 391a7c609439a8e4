// xnic run --events. What it leaves out: records of user-space ring buffers; a reader that is slow.
// Test: tests/sim/events_test.cpp.
#include "sim/events.h"

#include <bpf/btf.h>
#include <fmt/format.h>
#include <linux/perf_event.h>

#include <algorithm>

#include "sim/json.h"
#include "sim/map_btf.h"
#include "vm/maps/perf_event_array.h"
#include "vm/maps/ringbuf.h"

namespace xnic::sim {
namespace {

// A page of positions and room for two of the largest samples.
constexpr uint64_t kPerfRingBytes = 4096 + (128 << 10);

}  // namespace

Result<std::unique_ptr<EventReader>> EventReader::create(vm::Kernel& kernel,
                                                         const Attachments& attachments,
                                                         const std::vector<std::string>& types,
                                                         Line line) {
  std::unique_ptr<EventReader> reader(new EventReader(std::move(line)));
  for (const auto& object : attachments.objects) {
    for (const vm::LoadedMap& loaded : object->maps()) {
      vm::Map& map = *loaded.map;
      reader->names_[&map] = loaded.name;
      reader->listen(map);
      if (vm::RingBuffer::of(map) == nullptr || map.btf == nullptr) continue;
      const uint32_t id = map.spec().btf_value_type_id;
      const int64_t size = id == 0 ? 0 : btf__resolve_size(map.btf->parsed(), id);
      if (size > 0) reader->types_[&map] = {map.btf, id, static_cast<size_t>(size)};
    }
  }
  for (const std::string& request : types) {
    if (auto set = reader->set_type(kernel, attachments, request); !set) {
      return tl::unexpected(set.error());
    }
  }
  return reader;
}

Result<void> EventReader::set_type(vm::Kernel& kernel, const Attachments& attachments,
                                   const std::string& request) {
  const size_t equals = request.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == request.size()) {
    return fail(ExitCode::usage, "--events {}: write it as MAP=TYPE", request);
  }
  const auto maps = find_maps(attachments, request.substr(0, equals));
  if (!maps) return tl::unexpected(maps.error());
  std::string name = request.substr(equals + 1);
  for (const std::string_view word : {"struct ", "union ", "enum "}) {
    if (name.starts_with(word)) name.erase(0, word.size());
  }
  Type type;
  for (uint32_t id = kernel.btfs.next_id(0); id != 0 && type.id == 0;
       id = kernel.btfs.next_id(id)) {
    const std::shared_ptr<const vm::Btf> btf = kernel.btfs.by_id(id);
    const int found = btf__find_by_name(btf->parsed(), name.c_str());
    if (found <= 0) continue;
    const int64_t size = btf__resolve_size(btf->parsed(), static_cast<uint32_t>(found));
    if (size > 0) type = {btf, static_cast<uint32_t>(found), static_cast<size_t>(size)};
  }
  if (type.id == 0) {
    return fail(ExitCode::usage, "--events {}: no object has a type {} in its BTF", request, name);
  }
  for (vm::Map* map : *maps) types_[map] = type;
  return {};
}

// Gives every CPU of a perf event array an event to write to.
void EventReader::listen(vm::Map& map) {
  vm::PerfEventArray* array = vm::PerfEventArray::of(map);
  if (array == nullptr) return;
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_BPF_OUTPUT;
  attributes.sample_type = PERF_SAMPLE_RAW;
  const uint32_t cpus = std::min(map.spec().max_entries, map.possible_cpus());
  for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
    auto event = vm::PerfEvent::open(attributes, static_cast<int>(cpu), -1);
    if (event && (*event)->map_ring(kPerfRingBytes) == 0) array->store(cpu, std::move(*event));
  }
}

void EventReader::print(const vm::Map& map, const vm::Environment& environment,
                        std::string_view fields) {
  const auto known = names_.find(&map);
  const std::string& name = known != names_.end() ? known->second : map.spec().name;
  line_(fmt::format(R"({{"sim_ns":{},"map":{},"cpu":{},{}}})", environment.now_ns,
                    json_string(name), environment.cpu, fields));
}

void EventReader::read(vm::Map& map, const vm::Environment& environment) {
  const auto record = [&](std::span<const uint8_t> bytes) {
    std::string fields = R"("bytes":")";
    for (const uint8_t byte : bytes) fmt::format_to(std::back_inserter(fields), "{:02x}", byte);
    fields += '"';
    const auto type = types_.find(&map);
    if (type != types_.end() && bytes.size() >= type->second.size) {
      std::string value;
      if (format_btf(type->second.btf->parsed(), type->second.id, bytes.first(type->second.size),
                     value)) {
        fields += R"(,"value":)" + value;
      }
    }
    print(map, environment, fields);
  };
  if (vm::RingBuffer* ring = vm::RingBuffer::of(map); ring != nullptr) {
    ring->consume(record);
    return;
  }
  vm::PerfEventArray* array = vm::PerfEventArray::of(map);
  if (array == nullptr) return;
  if (const auto event = array->event_at(environment.cpu); event != nullptr) {
    event->consume(
        record, [&](uint64_t lost) { print(map, environment, fmt::format(R"("lost":{})", lost)); });
  }
}

}  // namespace xnic::sim
