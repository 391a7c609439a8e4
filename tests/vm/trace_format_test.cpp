// bpf_trace_printk: what Linux accepts, the length it answers and the text it writes. The oracle is
// the running kernel, whose text is read from its trace buffer; what its documentation promises
// (Documentation/core-api/printk-formats.rst) is checked without it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"
#include "vm/trace_format.h"

namespace xnic::vm {
namespace {

using test::Bytes;
using test::Descriptor;

struct Format {
  int answer;
  std::string text;
};

Format formatted(std::string_view format, std::initializer_list<uint64_t> arguments) {
  Format made;
  const std::vector<uint64_t> values(arguments);
  made.answer = format_trace(made.text, format, values);
  return made;
}

TEST(TraceFormat, WritesIntegersAsPrintfDoes) {
  const uint64_t minus_two = static_cast<uint64_t>(-2);
  EXPECT_EQ(formatted("%d %u %x", {minus_two, minus_two, minus_two}).text,
            "-2 4294967294 fffffffe");
  EXPECT_EQ(formatted("%lld %llu %llX", {minus_two, minus_two, 0xabcull}).text,
            "-2 18446744073709551614 ABC");
  EXPECT_EQ(formatted("%5d|%-5d|%05d", {42, 42, 42}).text, "   42|42   |00042");
  EXPECT_EQ(formatted("%i%%%c", {7, 'x'}).text, "7%x");
}

TEST(TraceFormat, WritesAddressesOfBothInternetProtocols) {
  const std::array<uint8_t, 16> address = {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
  const uint64_t at = std::bit_cast<uint64_t>(address.data());
  EXPECT_EQ(formatted("%pI4", {at}).text, "32.1.13.184");
  EXPECT_EQ(formatted("%pi4", {at}).text, "032.001.013.184");
  EXPECT_EQ(formatted("%pI6", {at}).text, "2001:0db8:0000:0000:0000:0000:0000:0007");
  EXPECT_EQ(formatted("%pi6", {at}).text, "20010db8000000000000000000000007");
}

TEST(TraceFormat, ReadsStringsWithoutFaultingOnBadAddresses) {
  EXPECT_EQ(formatted("<%s>", {test::address_of("text")}).text, "<text>");
  for (const uint64_t bad :
       {uint64_t{0}, uint64_t{8}, uint64_t{0xdead000000000000}, ~uint64_t{0}}) {
    EXPECT_EQ(formatted("<%s>", {bad}).text, "<>");
  }
}

TEST(TraceFormat, RefusesWhatItCannotPrint) {
  for (const char* format :
       {"%", "%y", "%5", "%lc", "%f", "%n", "%*d", "%.2d", "\x01", "%pQ", "%sx"}) {
    EXPECT_EQ(formatted(format, {1, 2, 3}).answer, -EINVAL) << format;
  }
  EXPECT_EQ(formatted("%d %d %d %d", {1, 2, 3}).answer, -EINVAL) << "three arguments at most";
}

// The kernel's trace buffer, through a tracefs that is mounted nowhere.
class TraceBuffer {
 public:
  TraceBuffer() {
    const int context = fsopen("tracefs", FSOPEN_CLOEXEC);
    if (context < 0) return;
    if (fsconfig(context, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) == 0) {
      const int mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
      if (mount >= 0) {
        pipe_ = openat(mount, "trace_pipe", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        close(mount);
      }
    }
    close(context);
  }
  ~TraceBuffer() {
    if (pipe_ >= 0) close(pipe_);
  }
  TraceBuffer(const TraceBuffer&) = delete;
  TraceBuffer& operator=(const TraceBuffer&) = delete;

  bool is_open() const { return pipe_ >= 0; }

  // What this thread printed since the last call: the text behind "bpf_trace_printk: ".
  std::string take() {
    std::string all;
    std::array<char, 8192> buffer{};
    ssize_t got = 0;
    while ((got = read(pipe_, buffer.data(), buffer.size())) > 0) {
      all.append(buffer.data(), static_cast<size_t>(got));
    }
    constexpr std::string_view kEvent = "bpf_trace_printk: ";
    const std::string task = fmt::format("-{} ", gettid());
    const size_t line = all.find(task);
    if (line == std::string::npos) return {};
    const size_t text = all.find(kEvent, line);
    if (text == std::string::npos) return {};
    std::string found = all.substr(text + kEvent.size());
    // The event's own newline, and the program's, which xnic leaves out too.
    for (int i = 0; i < 2 && found.ends_with('\n'); ++i) found.pop_back();
    return found;
  }

 private:
  int pipe_ = -1;
};

class TraceFormatAgainstKernel : public testing::Test {
 protected:
  void SetUp() override { XNIC_NEEDS_REAL_KERNEL(); }

  // A program that prints with constant arguments; the format lies on the stack.
  static test::Instructions printing(std::string_view format, std::array<int32_t, 3> arguments,
                                     uint32_t size) {
    using namespace test;  // NOLINT: the instructions' names
    Bytes bytes(64);
    std::copy(format.begin(), format.end(), bytes.begin());
    Instructions program;
    for (int16_t at = 0; at < 64; at = static_cast<int16_t>(at + 4)) {
      int32_t word = 0;
      std::memcpy(&word, bytes.data() + at, 4);
      program.push_back(store(4, r10, static_cast<int16_t>(at - 64), word));
    }
    return program + Instructions{move(r1, r10),
                                  alu(BPF_ADD, r1, -64),
                                  move(r2, static_cast<int32_t>(size)),
                                  move(r3, arguments[0]),
                                  move(r4, arguments[1]),
                                  move(r5, arguments[2]),
                                  call(BPF_FUNC_trace_printk),
                                  leave()};
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  test::EmulatedKernel ours_{kernel_};
  test::RealKernel theirs_;
};

TEST_F(TraceFormatAgainstKernel, AnswersAndPrintsWhatLinuxDoes) {
  TraceBuffer trace;
  std::string line;
  kernel_.environment().trace = [&](std::string_view text) { line = text; };
  const std::array<int32_t, 3> values = {-2, 77, 0x41};
  for (const std::string format : {"",
                                   "plain",
                                   "%d",
                                   "%d %d %d",
                                   "%d %d %d %d",
                                   "%i|%u|%x",
                                   "%X",
                                   "%ld|%lu|%lx",
                                   "%lld|%llu|%llx",
                                   "%lli",
                                   "%lllx",
                                   "%5d|%-5d|%05d",
                                   "%+d|% d|%+u",
                                   "%08x|%-8x|%8X",
                                   "%100d",
                                   "%00d",
                                   "%-05d",
                                   "%+5d|% 5d|%05d",
                                   "%%",
                                   "%%d%d",
                                   "%",
                                   "%5",
                                   "%l",
                                   "%ll",
                                   "100%",
                                   "%c|%c|%c",
                                   "%5c",
                                   "%lc",
                                   "%s",
                                   "%5s",
                                   "%.3s",
                                   "%*d",
                                   "%#x",
                                   "%f",
                                   "%n",
                                   "%hd",
                                   "%hhx",
                                   "%zu",
                                   "%o",
                                   "%p",
                                   "%px",
                                   "%pK",
                                   "%20px",
                                   "%pI",
                                   "%pI4",
                                   "%pi4",
                                   "%pI6",
                                   "%pi6",
                                   "%pI5",
                                   "%pQ",
                                   "%pks",
                                   "%pus",
                                   "%pksx",
                                   "%sx",
                                   "%s,",
                                   "%p,",
                                   "%pxx",
                                   "%pS",
                                   "%ps",
                                   "%pB",
                                   "tab\there",
                                   "line\n",
                                   "two\nlines",
                                   "two\n\n",
                                   "\x01",
                                   "\x7f",
                                   "\xc3\xa4",
                                   "%d\x01",
                                   "%ux",
                                   "%dd",
                                   "%-d",
                                   "% -+0d|%x",
                                   "%lX|%llX",
                                   "%lc",
                                   "%ls"}) {
    const auto program = printing(format, values, 64);
    const Descriptor ours = ours_.load(BPF_PROG_TYPE_XDP, program);
    const Descriptor theirs = theirs_.load(BPF_PROG_TYPE_XDP, program);
    ASSERT_EQ(theirs.error(), 0);
    ASSERT_EQ(ours.error(), 0);
    test::RunRequest request;
    request.data = Bytes(64);
    if (trace.is_open()) trace.take();
    line.clear();
    const test::RunAnswer answer = ours_.run(ours.fd(), request);
    const test::RunAnswer expected = theirs_.run(theirs.fd(), request);
    EXPECT_EQ(static_cast<int32_t>(answer.code), static_cast<int32_t>(expected.code)) << format;
    // Linux hides some addresses behind a hash or as zeros, so only their length is compared.
    const size_t pointer = format.find("%p");
    const bool hidden = pointer != std::string::npos && format.find("x", pointer) != pointer + 2;
    if (trace.is_open() && !hidden) {
      EXPECT_EQ(line, trace.take()) << format;
    }
  }
}

TEST_F(TraceFormatAgainstKernel, WantsTheFormatToEndWithinItsSize) {
  for (const uint32_t size : {1u, 2u, 4u, 5u, 64u}) {
    const auto program = printing("abcd", {0, 0, 0}, size);
    const Descriptor ours = ours_.load(BPF_PROG_TYPE_XDP, program);
    const Descriptor theirs = theirs_.load(BPF_PROG_TYPE_XDP, program);
    test::RunRequest request;
    request.data = Bytes(64);
    EXPECT_EQ(ours_.run(ours.fd(), request).code, theirs_.run(theirs.fd(), request).code) << size;
  }
}

}  // namespace
}  // namespace xnic::vm
