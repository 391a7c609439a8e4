// Plain pcap files (draft-ietf-opsawg-pcap), read in pieces that stay in the cache; records point
// into the piece.
// Leaves out: filters, pipes, pcapng, and the pcap variants that libpcap knows besides version 2.4.
// Test: tests/traces/pcap_file_test.cpp, against libpcap.
#include "traces/pcap_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace xnic::traces {
namespace {

struct FileHeader {
  uint32_t magic;
  uint16_t version_major;
  uint16_t version_minor;
  uint32_t reserved[2];
  uint32_t snap_length;
  uint32_t link_type;
};
static_assert(sizeof(FileHeader) == 24);

struct RecordHeader {
  uint32_t seconds;
  uint32_t fraction;  // micro- or nanoseconds
  uint32_t captured;
  uint32_t original;
};
static_assert(sizeof(RecordHeader) == 16);

constexpr uint32_t kMicroseconds = 0xa1b2c3d4;
constexpr uint32_t kNanoseconds = 0xa1b23c4d;
constexpr uint32_t kEthernet = 1;
// So much of the file is read at once: little enough to stay in the cache.
constexpr uint64_t kPiece = 256 << 10;
// Room for a piece behind the beginning of any record.
constexpr uint64_t kWindow = 1 << 20;
static_assert(kPiece > sizeof(RecordHeader) && kPiece <= kMaxRecordLength);
static_assert(kWindow > 2 * (sizeof(RecordHeader) + kMaxRecordLength));

class PcapFileReader : public Reader {
 public:
  PcapFileReader(const std::string& path, const ReaderOptions& options) : Reader(path, options) {}
  ~PcapFileReader() override {
    if (fd_ >= 0) ::close(fd_);
  }

  // False for what only libpcap reads.
  bool open();
  Result<bool> next(Record& record) override;
  Result<size_t> next_burst(std::span<Record> records) override;

 private:
  uint32_t in_host_order(uint32_t value) const {
    return swapped_ ? __builtin_bswap32(value) : value;
  }
  template <bool kSwapped>
  size_t take(std::span<Record> records);
  // What the header of the next record says; 0 where it is not whole in the window.
  uint32_t next_captured() const;
  Result<bool> read_further();
  tl::unexpected<Error> too_long(uint32_t captured) const;
  // What follows when the window holds no whole record any more: false at the end.
  Result<bool> refill();

  int fd_ = -1;
  bool swapped_ = false;
  bool nanoseconds_ = false;
  uint32_t snap_length_ = 0;

  std::unique_ptr<uint8_t[]> window_ = std::make_unique_for_overwrite<uint8_t[]>(kWindow);
  uint64_t window_size_ = 0;  // bytes that are in it
  uint64_t position_ = 0;     // in it: the next record, which is at record_end_ in the file
  bool ended_ = false;
  std::optional<Error> failure_;
};

bool PcapFileReader::open() {
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  struct stat status {};
  if (fd_ < 0 || ::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  FileHeader header;
  if (::pread(fd_, &header, sizeof header, 0) != sizeof header) return false;
  swapped_ = header.magic == __builtin_bswap32(kMicroseconds) ||
             header.magic == __builtin_bswap32(kNanoseconds);
  const uint32_t magic = in_host_order(header.magic);
  if (magic != kMicroseconds && magic != kNanoseconds) return false;
  nanoseconds_ = magic == kNanoseconds;
  const auto short_order = [this](uint16_t value) {
    return swapped_ ? __builtin_bswap16(value) : value;
  };
  if (short_order(header.version_major) != 2 || short_order(header.version_minor) != 4)
    return false;
  if (in_host_order(header.link_type) != kEthernet) return false;
  snap_length_ = in_host_order(header.snap_length);
  if (snap_length_ == 0 || snap_length_ > INT_MAX) snap_length_ = kMaxRecordLength;
  record_end_ = sizeof header;
  return true;
}

// Moves what is left of the window to its start and fills the rest. False if nothing more came.
Result<bool> PcapFileReader::read_further() {
  const uint64_t left = window_size_ - position_;
  if (left > 0) std::memmove(window_.get(), window_.get() + position_, left);
  position_ = 0;
  window_size_ = left;
  const uint64_t wanted = left + kPiece;
  while (window_size_ < wanted) {
    const ssize_t got = ::pread(fd_, window_.get() + window_size_, wanted - window_size_,
                                static_cast<off_t>(record_end_ + window_size_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed_read(errno);
    if (got == 0) break;
    window_size_ += static_cast<uint64_t>(got);
  }
  return window_size_ > left;
}

// In libpcap's words.
tl::unexpected<Error> PcapFileReader::too_long(uint32_t captured) const {
  const bool past_snap_length = captured > snap_length_;
  return unreadable_record(fmt::format("invalid packet capture length {}, bigger than {} of {}",
                                       captured, past_snap_length ? "snaplen" : "maximum",
                                       past_snap_length ? snap_length_ : kMaxRecordLength));
}

uint32_t PcapFileReader::next_captured() const {
  RecordHeader header;
  if (window_size_ - position_ < sizeof header) return 0;
  std::memcpy(&header, window_.get() + position_, sizeof header);
  return in_host_order(header.captured);
}

Result<bool> PcapFileReader::refill() {
  const auto more = read_further();
  if (!more || *more) return more;
  return window_size_ > 0 ? cut_off_at(record_end_ + window_size_) : false;
}

Result<bool> PcapFileReader::next(Record& record) {
  const auto got = next_burst({&record, 1});
  if (!got) return tl::unexpected<Error>(got.error());
  return *got == 1;
}

// Gives the records that are whole in the window, as many as there is room for. Stops in front of
// one that is too long.
template <bool kSwapped>
size_t PcapFileReader::take(std::span<Record> records) {
  const auto in_order = [](uint32_t value) { return kSwapped ? __builtin_bswap32(value) : value; };
  // libpcap takes seconds in the machine's own byte order as signed.
  const auto as_libpcap = [](uint32_t value) {
    return kSwapped ? int64_t{value} : int64_t{static_cast<int32_t>(value)};
  };
  const int64_t fraction_ns = nanoseconds_ ? 1 : 1000;
  const uint32_t snap_length = snap_length_;
  const uint8_t* const begin = window_.get() + position_;
  const uint8_t* const end = window_.get() + window_size_;
  const uint8_t* at = begin;
  size_t count = 0;
  while (count < records.size() && static_cast<size_t>(end - at) >= sizeof(RecordHeader)) {
    RecordHeader header;
    std::memcpy(&header, at, sizeof header);
    const uint32_t captured = in_order(header.captured);
    const auto behind = static_cast<size_t>(end - at) - sizeof header;
    if (captured > kMaxRecordLength || captured > behind) break;
    const uint32_t kept = std::min(captured, snap_length);
    Record& record = records[count++];
    record.number = records_ + count;
    record.timestamp_ns = as_libpcap(in_order(header.seconds)) * 1'000'000'000 +
                          as_libpcap(in_order(header.fraction)) * fraction_ns;
    record.bytes = {at + sizeof header, kept};
    record.original_length = std::max(in_order(header.original), kept);
    bytes_ += kept;
    snapped_ += kept < record.original_length ? 1 : 0;
    at += sizeof header + captured;
  }
  records_ += count;
  packets_ += count;
  position_ += static_cast<uint64_t>(at - begin);
  record_end_ += static_cast<uint64_t>(at - begin);
  return count;
}

Result<size_t> PcapFileReader::next_burst(std::span<Record> records) {
  while (!failure_ && !ended_ && !records.empty()) {
    if (const size_t count = swapped_ ? take<true>(records) : take<false>(records); count > 0) {
      return count;
    }
    if (const uint32_t captured = next_captured(); captured > kMaxRecordLength) {
      failure_ = too_long(captured).value();
      break;
    }
    const auto more = refill();
    if (!more) failure_ = more.error();
    ended_ = !more || !*more;
  }
  if (failure_) return tl::unexpected<Error>(*failure_);
  return 0;
}

}  // namespace

std::unique_ptr<Reader> open_pcap_file(const std::string& path, const ReaderOptions& options) {
  auto reader = std::make_unique<PcapFileReader>(path, options);
  return reader->open() ? std::move(reader) : nullptr;
}

}  // namespace xnic::traces
