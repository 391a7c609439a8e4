// The corpus: many objects of others on the real kernel and on the emulated one. Each program is
// tried in a process of its own with a time limit, so that a crash is a line in the table and not
// the end. What comes out is docs/compatibility.md; ./dev corpus calls it.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/corpus/report.h"
#include "tests/corpus/trial.h"
#include "traces/reader.h"

namespace xnic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr unsigned kSecondsForAProgram = 180;

std::vector<Bytes> shipped_packets() {
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator(XNIC_CAPTURES)) {
    if (entry.path().extension() == ".pcap") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> packets;
  for (const std::string& path : paths) {
    auto reader = traces::Reader::open(path, "");
    traces::Record record;
    while (reader) {
      const auto more = (*reader)->next(record);
      if (!more || !*more) break;
      packets.emplace_back(record.bytes.begin(), record.bytes.end());
    }
  }
  return packets;
}

// What a child that ran `work` last told, and how it ended if not well.
template <class Work>
json in_a_child(const Work& work) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {{"ended", std::strerror(errno)}};
  const pid_t child = fork();
  if (child < 0) return {{"ended", std::strerror(errno)}};
  if (child == 0) {
    close(ends[0]);
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(kSecondsForAProgram);
    work([&](const json& found) {
      const std::string line = found.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
      if (write(ends[1], line.data(), line.size()) < 0) _exit(1);
    });
    _exit(0);
  }
  close(ends[1]);
  std::string told;
  char buffer[65536];
  ssize_t count = 0;
  while ((count = read(ends[0], buffer, sizeof buffer)) > 0) {
    told.append(buffer, static_cast<size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const size_t end = told.rfind('\n');
  json last = json::object();
  if (end != told.npos) {
    const size_t start = end == 0 ? told.npos : told.rfind('\n', end - 1);
    last = json::parse(told.substr(start == told.npos ? 0 : start + 1), nullptr, false);
  }
  if (WIFSIGNALED(status)) {
    last["ended"] = WTERMSIG(status) == SIGALRM
                        ? fmt::format("takes more than {} s", kSecondsForAProgram)
                        : fmt::format("crashes: {}", strsignal(WTERMSIG(status)));
  } else if (WEXITSTATUS(status) != 0) {
    last["ended"] = fmt::format("exits with {}", WEXITSTATUS(status));
  }
  return last;
}

// Programs run on CPU 0, as they do in the emulated kernel, and in a network of their own, so that
// what they look up and send does not depend on this machine's.
void isolate() {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(0, &only);
  sched_setaffinity(0, sizeof only, &only);
  if (unshare(CLONE_NEWNET) != 0) {
    std::cerr << "xnic_corpus: no network namespace of its own: " << std::strerror(errno) << "\n";
  }
}

int try_object(const std::string& path, const std::string& result) {
  isolate();
  const bool guess = path.find("/samples/") != path.npos;
  json report = in_a_child([&](const auto& tell) {
    std::string error;
    json rows = json::array();
    for (const Candidate& row : candidates(path, guess, error)) {
      rows.push_back({{"name", row.name}, {"section", row.section}, {"type", row.type}});
    }
    tell(json{{"candidates", rows}, {"error", error}});
  });
  std::vector<Candidate> all;
  for (const json& row : report.value("candidates", json::array())) {
    all.push_back({row["name"], row["section"], row["type"].template get<bpf_prog_type>()});
  }
  report.erase("candidates");
  report["programs"] = json::array();
  const std::vector<Bytes> packets = shipped_packets();
  for (const Candidate& candidate : all) {
    report["programs"].push_back(
        in_a_child([&](const auto& tell) { try_program(path, candidate, all, packets, tell); }));
  }
  std::ofstream out(result);
  out << report.dump(1) << "\n";
  return out.good() ? 0 : 1;
}

int usage() {
  std::cerr << "usage: xnic_corpus try OBJECT RESULT.json\n"
               "       xnic_corpus report FOLDER     (of objects/ and results/)\n";
  return 2;
}

}  // namespace
}  // namespace xnic::test

int main(int count, char** arguments) {
  using namespace xnic::test;
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.size() == 3 && words[0] == "try") {
    if (const std::string why = why_no_real_kernel(); !why.empty()) {
      std::cerr << "xnic_corpus: " << why << "\n";
      return 77;
    }
    return try_object(words[1], words[2]);
  }
  if (words.size() == 2 && words[0] == "report") {
    std::cout << compatibility_report(words[1]);
    return 0;
  }
  return usage();
}
