// Plain pcap files (draft-ietf-opsawg-pcap), mapped into memory window by window. Chasing from one
// record's length to the next record waits for memory at every step, so the lines ahead are asked
// for before they are needed.
// Leaves out: filters, pipes, pcapng, and the pcap variants that libpcap knows besides version 2.4.
// Test: tests/traces/pcap_file_test.cpp, against libpcap.
#include "traces/pcap_file.h"

#include <fcntl.h>
#include <sys/mman.h>
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
// So much of the file is mapped at once. Holds any record.
constexpr uint64_t kWindow = 4 << 20;
static_assert(kWindow > 2 * (sizeof(RecordHeader) + kMaxRecordLength));
constexpr uint32_t kCacheLine = 64;
constexpr uint32_t kAhead = 8 << 10;  // bytes between reading a line and asking for it

class PcapFileReader : public Reader {
 public:
  PcapFileReader(const std::string& path, const ReaderOptions& options) : Reader(path, options) {}
  ~PcapFileReader() override {
    unmap();
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
  // Maps the file from the next record on. True if there are more bytes than were seen so far.
  Result<bool> map_further();
  void unmap();
  tl::unexpected<Error> too_long(uint32_t captured) const;
  // What follows when the window holds no whole record any more: false at the end.
  Result<bool> refill();

  int fd_ = -1;
  bool swapped_ = false;
  bool nanoseconds_ = false;
  uint32_t snap_length_ = 0;

  uint8_t* window_ = nullptr;
  uint64_t window_offset_ = 0;  // in the file
  uint64_t window_size_ = 0;
  uint64_t position_ = 0;    // in the window: the next record
  uint64_t prefetched_ = 0;  // in the window
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

void PcapFileReader::unmap() {
  if (window_ != nullptr) ::munmap(window_, window_size_);
  window_ = nullptr;
}

Result<bool> PcapFileReader::map_further() {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return failed_read(errno);
  const auto file_size = static_cast<uint64_t>(status.st_size);
  const bool grown = file_size > window_offset_ + window_size_;
  if (window_ != nullptr && !grown) return false;
  unmap();
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  window_offset_ = record_end_ / page * page;
  window_size_ = 0;
  position_ = prefetched_ = record_end_ - window_offset_;
  if (file_size <= record_end_) return false;
  const uint64_t size = std::min(kWindow, file_size - window_offset_);
  void* mapped =
      ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_, static_cast<off_t>(window_offset_));
  if (mapped == MAP_FAILED) return failed_read(errno);
  window_ = static_cast<uint8_t*>(mapped);
  window_size_ = size;
  // One call in place of a fault for each page, and an error in place of a signal where the disk
  // fails. Older kernels do not know it and take the faults.
  if (::madvise(mapped, size, MADV_POPULATE_READ) != 0 && errno != EINVAL) {
    return failed_read(errno == EFAULT ? EIO : errno);
  }
  return true;
}

// In libpcap's words.
tl::unexpected<Error> PcapFileReader::too_long(uint32_t captured) const {
  const bool past_snap_length = captured > snap_length_;
  return unreadable_record(fmt::format("invalid packet capture length {}, bigger than {} of {}",
                                       captured, past_snap_length ? "snaplen" : "maximum",
                                       past_snap_length ? snap_length_ : kMaxRecordLength));
}

Result<bool> PcapFileReader::refill() {
  const auto more = map_further();
  if (!more || *more) return more;
  const uint64_t size = window_offset_ + window_size_;
  return size > record_end_ ? cut_off_at(size) : false;
}

Result<bool> PcapFileReader::next(Record& record) {
  const auto got = next_burst({&record, 1});
  if (!got) return tl::unexpected<Error>(got.error());
  return *got == 1;
}

Result<size_t> PcapFileReader::next_burst(std::span<Record> records) {
  if (failure_) return tl::unexpected<Error>(*failure_);
  size_t count = 0;
  while (!ended_ && count < records.size()) {
    RecordHeader header;
    const uint64_t left = window_size_ - position_;
    uint32_t captured = 0;
    bool whole = left >= sizeof header;
    if (whole) {
      std::memcpy(&header, window_ + position_, sizeof header);
      captured = in_host_order(header.captured);
      if (captured > kMaxRecordLength) {
        // The records before it are given first.
        if (count > 0) break;
        failure_ = too_long(captured).value();
        break;
      }
      whole = left - sizeof header >= captured;
    }
    if (!whole) {
      // A new window would take the bytes of the records before it away.
      if (count > 0) break;
      const auto more = refill();
      if (!more) failure_ = more.error();
      ended_ = !more || !*more;
      continue;
    }

    for (; prefetched_ < position_ + kAhead; prefetched_ += kCacheLine) {
      __builtin_prefetch(window_ + std::min(prefetched_, window_size_ - 1));
    }
    // libpcap takes seconds in the machine's own byte order as signed.
    const uint32_t seconds = in_host_order(header.seconds);
    const uint32_t fraction = in_host_order(header.fraction);
    const auto as_libpcap = [this](uint32_t value) {
      return swapped_ ? int64_t{value} : int64_t{static_cast<int32_t>(value)};
    };
    Record& record = records[count++];
    record.number = ++records_;
    record.timestamp_ns =
        as_libpcap(seconds) * 1'000'000'000 + as_libpcap(fraction) * (nanoseconds_ ? 1 : 1000);
    const uint32_t kept = std::min(captured, snap_length_);
    record.bytes = {window_ + position_ + sizeof header, kept};
    record.original_length = std::max(in_host_order(header.original), kept);
    position_ += sizeof header + captured;
    record_end_ = window_offset_ + position_;
    bytes_ += kept;
    snapped_ += kept < record.original_length ? 1 : 0;
  }
  packets_ += count;
  if (failure_) return tl::unexpected<Error>(*failure_);
  return count;
}

}  // namespace

std::unique_ptr<Reader> open_pcap_file(const std::string& path, const ReaderOptions& options) {
  auto reader = std::make_unique<PcapFileReader>(path, options);
  return reader->open() ? std::move(reader) : nullptr;
}

}  // namespace xnic::traces
