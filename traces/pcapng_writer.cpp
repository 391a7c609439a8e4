// pcapng in the host's byte order, as the format's byte-order magic permits.
// Leaves out everything that a reader of ours does not need: name resolution, statistics, hashes.
// Test: tests/traces/pcapng_writer_test.cpp.
#include "traces/pcapng_writer.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>

namespace xnic::traces {
namespace {

constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kEnhancedPacket = 6;
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kEthernet = 1;
constexpr uint32_t kMaxLength = 262'144;  // what readers take

enum Option : uint16_t {
  opt_endofopt = 0,
  opt_comment = 1,
  if_name = 2,
  shb_userappl = 4,
  epb_packetid = 5,
  epb_queue = 6,
  epb_verdict = 7,
  if_tsresol = 9,
};

// One block: type, length, body padded to 4 bytes, length again.
class Block {
 public:
  Block(std::vector<uint8_t>& bytes, uint32_t type) : bytes_(bytes) {
    bytes_.clear();
    put(type);
    put(uint32_t{0});
  }

  template <class T>
  void put(T value) {
    static_assert(std::is_integral_v<T>);
    const auto* raw = reinterpret_cast<const uint8_t*>(&value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof value);
  }

  void put_padded(std::span<const uint8_t> data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
  }

  void option(Option code, std::span<const uint8_t> value) {
    put(static_cast<uint16_t>(code));
    put(static_cast<uint16_t>(value.size()));
    put_padded(value);
  }
  void option(Option code, std::string_view text) {
    size_t size = std::min<size_t>(text.size(), std::numeric_limits<uint16_t>::max());
    // Not in the middle of a UTF-8 sequence.
    while (size < text.size() && size > 0 && (static_cast<uint8_t>(text[size]) & 0xc0) == 0x80) {
      --size;
    }
    option(code, std::span(reinterpret_cast<const uint8_t*>(text.data()), size));
  }
  template <class T>
  requires std::is_integral_v<T>
  void option(Option code, T value) {
    option(code, std::span(reinterpret_cast<const uint8_t*>(&value), sizeof value));
  }

  std::span<const uint8_t> finish() {
    const auto length = static_cast<uint32_t>(bytes_.size() + sizeof(uint32_t));
    put(length);
    const auto* raw = reinterpret_cast<const uint8_t*>(&length);
    std::copy(raw, raw + sizeof length, bytes_.begin() + sizeof(uint32_t));
    return bytes_;
  }

 private:
  std::vector<uint8_t>& bytes_;
};

}  // namespace

Result<std::unique_ptr<PcapngWriter>> PcapngWriter::create(
    const std::string& path, const std::string& application,
    const std::vector<std::string>& interfaces) {
  auto file = OutputFile::create(path);
  if (!file) return tl::unexpected<Error>(file.error());
  std::unique_ptr<PcapngWriter> writer(new PcapngWriter(std::move(*file)));
  if (auto written = writer->write_header(application, interfaces); !written) {
    return tl::unexpected<Error>(written.error());
  }
  return writer;
}

Result<void> PcapngWriter::write_header(const std::string& application,
                                        const std::vector<std::string>& interfaces) {
  Block section(block_, kSectionHeader);
  section.put(kByteOrderMagic);
  section.put(uint16_t{1});  // version 1.0
  section.put(uint16_t{0});
  section.put(int64_t{-1});  // length of the section: not said
  section.option(shb_userappl, application);
  section.option(opt_endofopt, "");
  if (auto written = file_->write(section.finish()); !written) return written;

  for (const std::string& interface : interfaces) {
    Block description(block_, kInterfaceDescription);
    description.put(kEthernet);
    description.put(uint16_t{0});
    description.put(kMaxLength);
    description.option(if_name, interface);
    description.option(if_tsresol, uint8_t{9});
    description.option(opt_endofopt, "");
    if (auto written = file_->write(description.finish()); !written) return written;
  }
  return {};
}

Result<void> PcapngWriter::write(int64_t timestamp_ns, std::span<const uint8_t> bytes,
                                 uint32_t original_length, const Annotation& annotation) {
  const auto time = static_cast<uint64_t>(std::max<int64_t>(timestamp_ns, 0));
  Block packet(block_, kEnhancedPacket);
  packet.put(annotation.interface);
  packet.put(static_cast<uint32_t>(time >> 32));
  packet.put(static_cast<uint32_t>(time));
  packet.put(static_cast<uint32_t>(bytes.size()));
  packet.put(original_length);
  packet.put_padded(bytes);
  if (!annotation.comment.empty()) packet.option(opt_comment, annotation.comment);
  packet.option(epb_packetid, annotation.packet_id);
  packet.option(epb_queue, annotation.queue);
  for (const Verdict& verdict : annotation.verdicts) {
    std::array<uint8_t, 1 + sizeof verdict.value> value{verdict.kind};
    std::memcpy(value.data() + 1, &verdict.value, sizeof verdict.value);
    packet.option(epb_verdict, value);
  }
  packet.option(opt_endofopt, "");
  return file_->write(packet.finish());
}

}  // namespace xnic::traces
