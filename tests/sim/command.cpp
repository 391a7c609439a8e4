#include "tests/sim/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

namespace xnic::command {
namespace {

namespace fs = std::filesystem;

// In the child: `path` becomes descriptor `to`.
void redirect(const std::string& path, int flags, int to) {
  const int fd = ::open(path.c_str(), flags, 0644);
  if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(126);
  if (fd != to) ::close(fd);
}

}  // namespace

Ran xnic(const Words& words, const Streams& streams) {
  const traces::TemporaryFolder folder;
  const std::string err = folder / "stderr";
  const std::string out = streams.out.empty() ? folder / "stdout" : streams.out;
  std::vector<char*> argv = {const_cast<char*>(XNIC_COMMAND)};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);

  const pid_t child = ::fork();
  if (child == 0) {
    redirect(streams.in, O_RDONLY, STDIN_FILENO);
    redirect(err, O_WRONLY | O_CREAT, STDERR_FILENO);
    if (streams.close_out) {
      ::close(STDOUT_FILENO);
    } else {
      redirect(out, O_WRONLY | O_CREAT, STDOUT_FILENO);
    }
    ::execv(XNIC_COMMAND, argv.data());
    ::_exit(127);
  }
  EXPECT_GT(child, 0);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  Ran ran;
  if (WIFEXITED(status)) ran.code = WEXITSTATUS(status);
  EXPECT_LT(ran.code, 100) << "not started, or the sanitizer's exit code";
  if (streams.out.empty() && !streams.close_out) ran.out = text_of(out);
  ran.err = text_of(err);
  return ran;
}

std::string example(const std::string& name) { return XNIC_BUILD "/examples/" + name; }
std::string test_object(const std::string& name) { return XNIC_BUILD "/tests/bpf/" + name; }
std::string data_object(const std::string& name) { return XNIC_BUILD "/tests/sim/" + name; }
std::string example_map(const std::string& name) { return XNIC_SOURCE "/examples/maps/" + name; }
std::string capture(const std::string& name) { return XNIC_SOURCE "/traces/data/" + name; }

std::vector<std::string> xdp_filter_objects() {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& machine : fs::directory_iterator("/usr/lib", error)) {
    if (!fs::is_directory(machine.path() / "bpf", error)) continue;
    for (const auto& entry : fs::directory_iterator(machine.path() / "bpf", error)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with("xdpfilt_") && name.ends_with(".o")) {
        found.push_back(entry.path().string());
      }
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

Words firewall_and_mark(const std::string& capture_path) {
  return {"run",
          "--attach",
          "xdp.native=" + example("firewall.o"),
          "--attach",
          "tc.ingress=" + example("mark.o"),
          "--map",
          "blocked_addresses=" + example_map("blocked_addresses.json"),
          "--map",
          "blocked_networks=" + example_map("blocked_networks.json"),
          "-r",
          capture_path};
}

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> found;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) found.push_back(line);
  return found;
}

std::string text_of(const std::string& path) {
  const auto bytes = traces::read_file(path);
  return {bytes.begin(), bytes.end()};
}

json json_of(const std::string& path) { return json::parse(text_of(path)); }

size_t tshark_count(const std::string& path, const std::string& filter) {
  return traces::lines_of("tshark -r '" + path + "' -Y '" + filter + "' 2>/dev/null").size();
}

bool is_file(const std::string& path) { return fs::exists(path); }

}  // namespace xnic::command
