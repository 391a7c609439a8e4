// What other processes can ask of `xnic line` while it runs: --control and --listen.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "tests/sim/command.h"

namespace xnic::command {
namespace {

using testing::HasSubstr;
using traces::TemporaryFolder;

constexpr int kNotAvailable = 77;

// Fewer than a cable holds: what is lost, the line has lost, however busy the machine is.
constexpr int kFrames = 800;

// A line that generates frames at one end of a cable, runs the firewall at the other, and ends
// after so many frames.
class RunningLine {
 public:
  explicit RunningLine(const Words& programs, const Words& more = {})
      : ran_(std::async(std::launch::async, [=, this] {
          return xnic(Words{"line"} + programs +
                      Words{"--port", "cable:a/0", "--tx", "cable:a/1", "--rx", "cable:a/1",
                            "--generate", "64", "--rate", "200pps", "--packets",
                            std::to_string(kFrames), "--control", control(), "-j"} +
                      more);
        })) {}

  std::string control() const { return folder_ / "control"; }
  // Whether it listens; false where it ended before.
  bool listens() {
    while (!std::filesystem::is_socket(control())) {
      if (ran_.wait_for(std::chrono::milliseconds(10)) == std::future_status::ready) return false;
    }
    return true;
  }
  Ran end() { return ran_.get(); }

 private:
  TemporaryFolder folder_;
  std::future<Ran> ran_;
};

#define XNIC_NEEDS_LISTENING(line)                          \
  if (!(line).listens()) {                                  \
    const Ran ran = (line).end();                           \
    if (ran.code == kNotAvailable) GTEST_SKIP() << ran.err; \
    FAIL() << ran.err;                                      \
  }

TEST(LineControl, ReadsAndWritesMapsOfPrograms) {
  RunningLine line({example("firewall.o")});
  XNIC_NEEDS_LISTENING(line);
  const Words at = {"--control", line.control()};
  const Words key = {"key", "1", "2", "3", "4"};
  const std::string name = "blocked_addresses";
  const Ran names = xnic(Words{"map", "dump"} + at);
  EXPECT_EQ(names.code, 0) << names.err;
  EXPECT_THAT(names.out, HasSubstr(name));

  EXPECT_EQ(xnic(Words{"map", "lookup", name} + key + at).code, 1);
  const Words value = {"value", "1", "0", "0", "0", "0", "0", "0", "0"};
  const Ran update = xnic(Words{"map", "update", name} + key + value + at);
  EXPECT_EQ(update.code, 0) << update.err;
  const Ran found = xnic(Words{"map", "lookup", name} + key + at);
  EXPECT_EQ(found.code, 0) << found.err;
  EXPECT_EQ(json::parse(found.out)["key"], (json{"0x01", "0x02", "0x03", "0x04"}));
  EXPECT_EQ(xnic(Words{"map", "update", name} + key + value + Words{"noexist"} + at).code, 1);
  EXPECT_EQ(xnic(Words{"map", "delete", name} + key + at).code, 0);
  EXPECT_EQ(xnic(Words{"map", "lookup", name} + key + at).code, 1);

  const Ran unknown = xnic(Words{"map", "dump", "nothing"} + at);
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr(name));
  struct stat socket {};
  ASSERT_EQ(stat(line.control().c_str(), &socket), 0);
  EXPECT_EQ(socket.st_mode & 0777, 0600);
  const Ran ran = line.end();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_FALSE(std::filesystem::exists(line.control()));
}

// Every frame passes one program or the other, and none neither.
TEST(LineControl, ReplacesProgramsWithoutLosingAPacket) {
  RunningLine line({data_object("reflect.o"), "--program", "reflect"});
  XNIC_NEEDS_LISTENING(line);
  const Words at = {"--control", line.control()};
  const Words replace = Words{"prog", "replace", data_object("reflect.o")} + at;
  for (const std::string program : {"resize", "reflect", "resize", "reflect"}) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const Ran ran = xnic(replace + Words{"--program", program});
    ASSERT_EQ(ran.code, 0) << ran.err;
    const json shown = json::parse(xnic(Words{"prog", "show"} + at).out);
    ASSERT_EQ(shown.size(), 1u) << shown;
    EXPECT_EQ(shown[0]["program"], program);
    EXPECT_EQ(shown[0]["hook"], "xdp.native");
  }
  // What is refused leaves what is there.
  EXPECT_EQ(xnic(replace + Words{"--program", "nothing"}).code, 2);
  EXPECT_EQ(xnic(Words{"prog", "replace", "/nowhere.o"} + at).code, 4);
  EXPECT_EQ(json::parse(xnic(Words{"prog", "show"} + at).out)[0]["program"], "reflect");
  const Ran ran = line.end();
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json report = json::parse(ran.out);
  EXPECT_EQ(report["packets"], kFrames);
  EXPECT_EQ(report["transmitted"], kFrames);
  // The other program cuts the generator's tag off.
  const json& traffic = report["traffic"];
  EXPECT_EQ(traffic["received"].get<int>() + traffic["strange"].get<int>(), kFrames);
  uint64_t runs = 0;
  for (const json& hook : report["hooks"]) {
    EXPECT_GT(hook["verdicts"].value("XDP_TX", uint64_t{0}), 0u) << hook;
    runs += hook["verdicts"].value("XDP_TX", uint64_t{0});
  }
  EXPECT_EQ(runs, kFrames);
}

TEST(LineControl, KeepsMapsOfReplacedProgramsWhereAskedTo) {
  RunningLine line({example("firewall.o")});
  XNIC_NEEDS_LISTENING(line);
  const Words at = {"--control", line.control()};
  const Words blocked = {"blocked_addresses", "key", "1", "2", "3", "4"};
  const Words value = {"value", "1", "0", "0", "0", "0", "0", "0", "0"};
  const auto is_blocked = [&] { return xnic(Words{"map", "lookup"} + blocked + at).code == 0; };
  const auto replace = [&](const Words& more) {
    return xnic(Words{"prog", "replace", example("firewall.o")} + at + more);
  };
  ASSERT_EQ(xnic(Words{"map", "update"} + blocked + value + at).code, 0);
  const Ran kept = replace({"--keep-maps"});
  EXPECT_EQ(kept.code, 0) << kept.err;
  EXPECT_TRUE(is_blocked());
  // A map of the same name and another shape stays as it is.
  const Ran other =
      xnic(Words{"prog", "replace", data_object("other_shape.o"), "--keep-maps"} + at);
  EXPECT_EQ(other.code, 4);
  EXPECT_THAT(other.err, HasSubstr("map blocked_addresses cannot take over"));
  EXPECT_TRUE(is_blocked());
  EXPECT_EQ(replace({}).code, 0);
  EXPECT_FALSE(is_blocked());
  EXPECT_EQ(line.end().code, 0);
}

TEST(LineControl, ServesItsCountersToPrometheus) {
  // One that no other run of this test has.
  const auto port = static_cast<uint16_t>(20'000 + getpid() % 10'000);
  RunningLine line({data_object("reflect.o"), "--program", "reflect"},
                   {"--listen", "127.0.0.1:" + std::to_string(port)});
  XNIC_NEEDS_LISTENING(line);
  const auto get = [port](const std::string& path) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::string answer;
    char piece[4096];
    for (ssize_t got; (got = read(fd, piece, sizeof piece)) > 0;) {
      answer.append(piece, static_cast<size_t>(got));
    }
    close(fd);
    return answer;
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const std::string metrics = get("/metrics");
  EXPECT_THAT(metrics, HasSubstr("HTTP/1.1 200 OK"));
  EXPECT_THAT(metrics, HasSubstr("# TYPE xnic_received_packets_total counter"));
  EXPECT_THAT(metrics, HasSubstr("xnic_received_packets_total{lcore=\"0\"} "));
  EXPECT_THAT(metrics, HasSubstr("xnic_verdicts_total{verdict=\"XDP_TX\"} "));
  EXPECT_THAT(metrics, HasSubstr("xnic_port_up{port=\"a/0\"} 1"));
  EXPECT_THAT(get("/"), HasSubstr("404 Not Found"));
  EXPECT_EQ(line.end().code, 0);
}

// The port is an interface of this machine's kernel, which takes it down.
TEST(LineControl, SaysWhenALinkGoesDownAndComesBack) {
  if (geteuid() != 0) GTEST_SKIP() << "it takes root to make an interface";
  const std::string name = "xnic" + std::to_string(getpid() % 100'000);
  const TemporaryFolder folder;
  auto running = std::async(std::launch::async, [&] {
    return xnic({"line", data_object("reflect.o"), "--program", "reflect", "--port",
                 "dpdk:net_tap0,iface=" + name, "--control", folder / "control", "--duration", "6s",
                 "-j"});
  });
  const auto wait = [&] { return running.wait_for(std::chrono::milliseconds(500)); };
  while (!std::filesystem::is_socket(folder / "control")) {
    if (wait() != std::future_status::ready) continue;
    GTEST_SKIP() << running.get().err;
  }
  for (const std::string state : {"up", "down", "up"}) {
    wait();
    ASSERT_EQ(std::system(("ip link set " + name + " " + state).c_str()), 0);
  }
  const Ran ran = running.get();
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("its link is down"));
  EXPECT_THAT(ran.err, HasSubstr("its link is up again"));
  EXPECT_EQ(json::parse(ran.out)["ports"][0]["link_went_down"], 1);
}

TEST(LineControl, SaysWhereNobodyListens) {
  const TemporaryFolder folder;
  const std::string nowhere = (folder / "nowhere");
  for (const Words& words : {Words{"map", "dump"}, Words{"prog", "show"}}) {
    const Ran ran = xnic(words + Words{"--control", nowhere});
    EXPECT_EQ(ran.code, 4);
    EXPECT_THAT(ran.err, HasSubstr(nowhere));
  }
  EXPECT_EQ(xnic({"map", "dump", "--control"}).code, 2);
  EXPECT_EQ(xnic({"prog", "paint", "--control", nowhere}).code, 2);
  // What is no socket is left alone.
  std::ofstream((folder / "file")) << "kept";
  const Ran ran = xnic({"line", data_object("reflect.o"), "--program", "reflect", "--port",
                        "cable:a/0", "--tx", "cable:a/1", "--rx", "cable:a/1", "--generate", "64",
                        "--packets", "10", "--control", (folder / "file")});
  if (ran.code == kNotAvailable) GTEST_SKIP() << ran.err;
  EXPECT_EQ(ran.code, 4);
  EXPECT_EQ(text_of((folder / "file")), "kept");
}

}  // namespace
}  // namespace xnic::command
