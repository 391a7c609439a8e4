// Captures through libpcap. libpcap reads from a stdio stream of ours that counts bytes, so the
// offset of a cut is known in every format, in standard input too. The filter is run here and not
// by libpcap, so that records keep their numbers.
// Leaves out: compressed captures (refused by name), and pcapng files whose interfaces differ in
// link type or snap length, which libpcap does not read.
// Test: tests/traces/reader_test.cpp.
#include "traces/reader.h"

#include <fcntl.h>
#include <pcap/pcap.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "traces/pcap_file.h"

namespace xnic::traces {
namespace {

// The bytes of a capture as they pass from the file descriptor to libpcap.
struct Source {
  int fd = -1;
  uint64_t offset = 0;             // bytes read so far
  std::array<uint8_t, 4> magic{};  // the first bytes of the file
  int error = 0;                   // errno of a failed read
};

ssize_t source_read(void* cookie, char* buffer, size_t size) {
  auto& source = *static_cast<Source*>(cookie);
  ssize_t got;
  do {
    got = ::read(source.fd, buffer, size);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    source.error = errno;
    return got;
  }
  for (auto i = static_cast<size_t>(source.offset); i < source.magic.size(); ++i) {
    if (i - source.offset >= static_cast<size_t>(got)) break;
    source.magic[i] = static_cast<uint8_t>(buffer[i - source.offset]);
  }
  source.offset += static_cast<uint64_t>(got);
  return got;
}

// Answers only where the stream is, which is all that ftell asks; a pipe can say that too.
int source_seek(void* cookie, off64_t* offset, int whence) {
  if (whence != SEEK_CUR || *offset != 0) {
    errno = ESPIPE;
    return -1;
  }
  *offset = static_cast<off64_t>(static_cast<Source*>(cookie)->offset);
  return 0;
}

int source_close(void* cookie) {
  auto& source = *static_cast<Source*>(cookie);
  const int fd = std::exchange(source.fd, -1);
  return fd > STDERR_FILENO ? ::close(fd) : 0;
}

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};
struct PcapCloser {
  void operator()(pcap_t* pcap) const { pcap_close(pcap); }
};

class PcapReader : public Reader {
 public:
  PcapReader(std::string path, const ReaderOptions& options) : Reader(std::move(path), options) {}
  ~PcapReader() override {
    if (filtered_) pcap_freecode(&filter_);
  }

  Result<void> open(const std::string& filter);
  Result<bool> next(Record& record) override;

 private:
  Result<void> open_source();
  Result<void> open_capture();
  tl::unexpected<Error> not_a_capture(std::string_view reason) const;
  Result<bool> cut_or_broken();
  uint64_t position() const { return static_cast<uint64_t>(std::ftell(file_)); }

  // Declared so that libpcap, which closes the stream, goes before what the stream uses.
  Source source_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
  std::unique_ptr<pcap_t, PcapCloser> pcap_;
  FILE* file_ = nullptr;  // owned by pcap_
  bpf_program filter_{};
  bool filtered_ = false;
  bool ended_ = false;
  std::optional<Error> failure_;
};

Result<void> PcapReader::open(const std::string& filter) {
  if (auto opened = open_source(); !opened) return opened;
  if (auto opened = open_capture(); !opened) return opened;
  if (filter.empty()) return {};
  if (pcap_compile(pcap_.get(), &filter_, filter.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
    return fail(ExitCode::usage, "The filter \"{}\" is not a tcpdump filter: {}.", filter,
                pcap_geterr(pcap_.get()));
  }
  filtered_ = true;
  return {};
}

Result<void> PcapReader::open_source() {
  source_.fd = path_ == "-" ? STDIN_FILENO : ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (source_.fd < 0) {
    return fail(ExitCode::bad_input, "Cannot open the capture {}: {}.", path_,
                std::strerror(errno));
  }
  struct stat status {};
  if (::fstat(source_.fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    source_close(&source_);
    return fail(ExitCode::bad_input, "{} is a directory, not a capture.", path_);
  }
  return {};
}

Result<void> PcapReader::open_capture() {
  std::unique_ptr<FILE, FileCloser> file(fopencookie(
      &source_, "r",
      {.read = source_read, .write = nullptr, .seek = source_seek, .close = source_close}));
  if (!file) {
    source_close(&source_);
    return fail(ExitCode::bad_input, "Cannot open the capture {}: {}.", name(),
                std::strerror(errno));
  }
  std::setvbuf(file.get(), buffer_.data(), _IOFBF, buffer_.size());
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  pcap_.reset(pcap_fopen_offline_with_tstamp_precision(file.get(), PCAP_TSTAMP_PRECISION_NANO,
                                                       error.data()));
  if (!pcap_) return not_a_capture(error.data());
  file_ = file.release();
  record_end_ = position();

  const int link_type = pcap_datalink(pcap_.get());
  if (link_type != DLT_EN10MB) {
    const char* type = pcap_datalink_val_to_name(link_type);
    const char* description = pcap_datalink_val_to_description(link_type);
    return fail(ExitCode::bad_input,
                "{} has link type {} ({}); only captures of Ethernet (EN10MB) can be replayed.",
                name(), type ? type : std::to_string(link_type),
                description ? description : "unknown to libpcap");
  }
  return {};
}

tl::unexpected<Error> PcapReader::not_a_capture(std::string_view reason) const {
  if (source_.error != 0) {
    return fail(ExitCode::bad_input, "Cannot read the capture {}: {}.", name(),
                std::strerror(source_.error));
  }
  if (source_.offset == 0) return fail(ExitCode::bad_input, "{} is empty, not a capture.", name());
  constexpr std::array<std::pair<std::array<uint8_t, 4>, std::string_view>, 3> kCompressed = {{
      {{0x1f, 0x8b, 0, 0}, "gzip"},
      {{0x28, 0xb5, 0x2f, 0xfd}, "zstd"},
      {{0xfd, '7', 'z', 'X'}, "xz"},
  }};
  for (const auto& [magic, format] : kCompressed) {
    const size_t compared = format == "gzip" ? 2 : magic.size();
    if (std::equal(magic.begin(), magic.begin() + compared, source_.magic.begin())) {
      return fail(ExitCode::bad_input, "{} is compressed with {}; decompress it first.", name(),
                  format);
    }
  }
  return fail(ExitCode::bad_input, "{} is not a pcap or pcapng capture: {}.", name(), reason);
}

Result<bool> PcapReader::next(Record& record) {
  if (failure_) return tl::unexpected<Error>(*failure_);
  while (!ended_) {
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    const int status = pcap_next_ex(pcap_.get(), &header, &data);
    if (status == PCAP_ERROR_BREAK) {
      ended_ = true;
      break;
    }
    if (status != 1) {
      auto end = cut_or_broken();
      if (!end) failure_ = end.error();
      ended_ = true;
      return end;
    }
    ++records_;
    record_end_ = position();
    if (filtered_ && pcap_offline_filter(&filter_, header, data) == 0) continue;

    record.number = records_;
    // With nanosecond precision libpcap gives nanoseconds in tv_usec.
    int64_t nanoseconds = 0;
    if (__builtin_mul_overflow(int64_t{header->ts.tv_sec}, int64_t{1'000'000'000}, &nanoseconds) ||
        __builtin_add_overflow(nanoseconds, int64_t{header->ts.tv_usec}, &nanoseconds)) {
      nanoseconds = header->ts.tv_sec < 0 ? std::numeric_limits<int64_t>::min()
                                          : std::numeric_limits<int64_t>::max();
    }
    record.timestamp_ns = nanoseconds;
    record.bytes = {data, header->caplen};
    record.original_length = std::max(header->len, header->caplen);
    ++packets_;
    bytes_ += header->caplen;
    if (header->caplen < header->len) ++snapped_;
    return true;
  }
  return false;
}

// libpcap stopped in the middle. If it had wanted bytes past the end of the file, the capture is
// cut off; else what it read makes no sense.
Result<bool> PcapReader::cut_or_broken() {
  const std::string reason = pcap_geterr(pcap_.get());
  if (source_.error != 0) return failed_read(source_.error);
  if (std::feof(file_) != 0) return cut_off_at(source_.offset);
  return unreadable_record(reason);
}

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path, const std::string& filter,
                                             const ReaderOptions& options) {
  if (filter.empty()) {
    if (std::unique_ptr<Reader> plain = open_pcap_file(path, options)) return plain;
  }
  auto reader = std::make_unique<PcapReader>(path, options);
  if (auto opened = reader->open(filter); !opened) {
    return tl::unexpected<Error>(opened.error());
  }
  return reader;
}

Result<size_t> Reader::next_burst(std::span<Record> records) {
  const auto got = next(records.front());
  if (!got) return tl::unexpected<Error>(got.error());
  return *got ? 1 : 0;
}

Result<bool> Reader::cut_off_at(uint64_t size) {
  const std::string sentence = fmt::format(
      "{} is truncated: its {} whole packet{} end{} at byte {} and it is cut off at byte {}",
      name(), records_, records_ == 1 ? "" : "s", records_ == 1 ? "s" : "", record_end_, size);
  if (strict_) return fail(ExitCode::bad_input, "{}.", sentence);
  warning_ = sentence + "; the rest is missing.";
  return false;
}

tl::unexpected<Error> Reader::unreadable_record(std::string_view reason) const {
  return fail(ExitCode::bad_input, "{}: packet {}, after byte {}, cannot be read: {}.", name(),
              records_ + 1, record_end_, reason);
}

tl::unexpected<Error> Reader::failed_read(int error) const {
  return fail(ExitCode::bad_input, "Cannot read the capture {} past byte {}: {}.", name(),
              record_end_, std::strerror(error));
}

}  // namespace xnic::traces
