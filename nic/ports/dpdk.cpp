// DPDK's environment: options, memory, threads, and what its own words say when something fails.
// It is started in memory alone, so that a process that is killed leaves nothing behind.
// Test: tests/sim/line_command_test.cpp.
#include "nic/ports/dpdk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "nic/ports/dpdk_cable.h"
#include "nic/ports/dpdk_ethdev.h"

namespace xnic::nic {
namespace {

// What DPDK logs, of which the last words are kept for the sentence of an error.
class Log {
 public:
  static Log& the() {
    static Log log;
    return log;
  }
  void capture() {
    if (stream_ != nullptr) return;
    const cookie_io_functions_t functions{
        .read = nullptr, .write = &Log::write, .seek = nullptr, .close = nullptr};
    stream_ = fopencookie(this, "w", functions);
    if (stream_ == nullptr) return;
    setvbuf(stream_, nullptr, _IOLBF, 0);
    rte_openlog_stream(stream_);
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    text_.clear();
  }
  // The last lines, put into one clause; `otherwise` where there are none.
  std::string last_words(const std::string& otherwise) {
    if (stream_ != nullptr) std::fflush(stream_);
    const std::lock_guard lock(mutex_);
    std::string words;
    size_t lines = 0;
    for (size_t end = text_.size(); end != 0 && lines < kLines;) {
      const size_t newline = text_.rfind('\n', end - 1);
      const size_t begin = newline == std::string::npos ? 0 : newline + 1;
      if (begin < end) {
        words = text_.substr(begin, end - begin) + (words.empty() ? "" : "; ") + words;
        ++lines;
      }
      end = newline == std::string::npos ? 0 : newline;
    }
    return words.empty() ? otherwise : words;
  }

 private:
  static constexpr size_t kLines = 3;
  static constexpr size_t kKept = 4096;

  static ssize_t write(void* cookie, const char* bytes, size_t size) {
    Log& log = *static_cast<Log*>(cookie);
    const std::lock_guard lock(log.mutex_);
    log.text_.append(bytes, size);
    if (log.text_.size() > kKept) log.text_.erase(0, log.text_.size() - kKept);
    return static_cast<ssize_t>(size);
  }

  std::FILE* stream_ = nullptr;
  std::mutex mutex_;
  std::string text_;
};

// Nothing that EAL prints by itself, its usage above all, is seen while this lives.
class Muted {
 public:
  Muted() {
    std::fflush(stdout);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < kept_.size(); ++i) {
      kept_[i] = fcntl(kStreams[i], F_DUPFD_CLOEXEC, 3);
      if (nowhere >= 0 && kept_[i] >= 0) dup2(nowhere, kStreams[i]);
    }
    if (nowhere >= 0) close(nowhere);
  }
  ~Muted() {
    std::fflush(stdout);
    for (size_t i = 0; i < kept_.size(); ++i) {
      if (kept_[i] < 0) continue;
      dup2(kept_[i], kStreams[i]);
      close(kept_[i]);
    }
  }
  Muted(const Muted&) = delete;
  Muted& operator=(const Muted&) = delete;

 private:
  static constexpr std::array kStreams = {STDOUT_FILENO, STDERR_FILENO};
  std::array<int, 2> kept_{};
};

// Whether this names a PCI device: "0000:01:00.0", "01:00.0".
bool is_pci_address(std::string_view device) {
  constexpr std::string_view kShape = "hhhh:hh:hh.h";
  constexpr size_t kDomain = 5;  // "0000:", which may be left out
  std::string_view shape = kShape;
  if (device.size() == kShape.size() - kDomain) shape.remove_prefix(kDomain);
  return std::equal(device.begin(), device.end(), shape.begin(), shape.end(), [](char c, char s) {
    return s == 'h' ? std::isxdigit(static_cast<unsigned char>(c)) != 0 : c == s;
  });
}

uint64_t number_in(const std::filesystem::path& path) {
  uint64_t number = 0;
  std::ifstream(path) >> number;
  return number;
}

bool has_free_hugepages() {
  std::error_code ignored;
  for (const auto& size :
       std::filesystem::directory_iterator("/sys/kernel/mm/hugepages", ignored)) {
    if (number_in(size.path() / "free_hugepages") != 0) return true;
  }
  return false;
}

bool names_any(const std::vector<std::string>& options, std::initializer_list<const char*> names) {
  return std::ranges::any_of(options, [&](const std::string& option) {
    return std::ranges::any_of(names, [&](const char* name) {
      return option == name || option.starts_with(std::string(name) + "=");
    });
  });
}

// The CPUs that this process may use, "0-3,5" as EAL writes lists.
std::string own_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::string list;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) list += fmt::format("{}{}", list.empty() ? "" : ",", cpu);
  }
  return list;
}

class Environment final : public Dpdk {
 public:
  Environment(uint32_t threads, bool strip_vlan_tags)
      : threads_(threads), strip_vlan_tags_(strip_vlan_tags) {}
  ~Environment() override {
    if (!started_) return;
    rte_mempool_free(pool_);
    rte_eal_cleanup();
  }

  Result<void> start(const DpdkOptions& options);
  Result<std::unique_ptr<Port>> open(const std::string& device, uint32_t receive_queues) override;
  Result<std::pair<std::unique_ptr<Port>, std::unique_ptr<Port>>> cable(
      const std::string& name) override {
    return make_cable(name, pool_, threads_);
  }
  Result<void> enter_thread(int cpu) override;
  void leave_thread() override { rte_thread_unregister(); }

 private:
  // Frames in rings of devices and on their way, for each thread and all ports together.
  static constexpr uint32_t kFramesAThread = 16'384;
  static constexpr uint32_t kMegabytes = 256;  // without hugepages, besides the frames'

  uint32_t threads_;
  bool strip_vlan_tags_;
  bool started_ = false;
  rte_mempool* pool_ = nullptr;
};

Result<void> Environment::start(const DpdkOptions& options) {
  std::vector<std::string> words = {"xnic"};
  const std::vector<std::string>& theirs = options.eal;
  const bool theirs_is_memory = names_any(
      theirs, {"--no-huge", "-m", "--socket-mem", "--huge-dir", "--legacy-mem", "--in-memory"});
  const bool huge = geteuid() == 0 && has_free_hugepages();
  if (!names_any(theirs, {"--no-shconf", "--in-memory", "--file-prefix", "--proc-type"})) {
    words.emplace_back(huge && !theirs_is_memory ? "--in-memory" : "--no-shconf");
  }
  if (!names_any(theirs, {"-l", "-c", "--lcores"})) {
    // The thread that starts it stays free to move.
    words.push_back(fmt::format("--lcores=0@({})", own_cpus()));
  }
  words.emplace_back("--no-telemetry");
  if (!names_any(theirs, {"--log-level"})) words.emplace_back("--log-level=warning");
  if (!names_any(theirs, {"-a", "--allow", "-b", "--block", "--no-pci"})) {
    bool pci = false;
    for (const std::string& device : options.devices) {
      const std::string address = device.substr(0, device.find(','));
      if (!is_pci_address(address)) continue;
      words.push_back("--allow=" + device);
      pci = true;
    }
    if (!pci) words.emplace_back("--no-pci");
  }
  if (!theirs_is_memory && !huge) {
    words.emplace_back("--no-huge");
    const uint32_t frames_mb = kFramesAThread * threads_ / 1024 * 9 / 2;
    words.push_back(fmt::format("-m{}", kMegabytes + frames_mb));
    note_ = geteuid() != 0
                ? "not root: DPDK runs without hugepages, on pages of 4 KiB, whose TLB misses cost "
                  "speed, and without PCI devices"
                : "no free hugepages: DPDK runs on pages of 4 KiB, whose TLB misses cost speed; "
                  "xnic doctor says how to reserve some";
  }
  words.insert(words.end(), theirs.begin(), theirs.end());

  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  Log::the().capture();
  const int used = [&] {
    const Muted muted;
    return rte_eal_init(static_cast<int>(arguments.size()), arguments.data());
  }();
  if (used < 0) {
    return fail(ExitCode::bad_input, "DPDK does not start: {}",
                Log::the().last_words(rte_strerror(rte_errno)));
  }
  started_ = true;
  pool_ = make_pool("xnic_frames", kFramesAThread * threads_ - 1);
  if (pool_ == nullptr) {
    return fail(ExitCode::bad_input,
                "DPDK has no memory for {} frames: {}; reserve more hugepages, or give more with "
                "-- -m MEGABYTES",
                kFramesAThread * threads_, rte_strerror(rte_errno));
  }
  return {};
}

Result<std::unique_ptr<Port>> Environment::open(const std::string& device,
                                                uint32_t receive_queues) {
  const std::string name = device.substr(0, device.find(','));
  uint16_t number = 0;
  Log::the().forget();
  if (rte_eth_dev_get_port_by_name(name.c_str(), &number) != 0) {
    const int error = is_pci_address(name) ? -ENODEV : rte_dev_probe(device.c_str());
    if (error != 0 || rte_eth_dev_get_port_by_name(name.c_str(), &number) != 0) {
      return fail(ExitCode::bad_input, "port dpdk:{}: cannot be opened: {}", device,
                  Log::the().last_words(error != 0 ? rte_strerror(-error) : "it is no ethdev"));
    }
  }
  return open_ethdev(
      number, device, pool_,
      {.threads = threads_, .receive_queues = receive_queues, .strip_vlan_tags = strip_vlan_tags_});
}

Result<void> Environment::enter_thread(int cpu) {
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
      return fail(ExitCode::bad_input, "this process may not run on CPU {}", cpu);
    }
  }
  if (rte_thread_register() != 0) {
    return fail(ExitCode::bad_input, "DPDK takes no more threads: {}", rte_strerror(rte_errno));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Dpdk>> Dpdk::start(const DpdkOptions& options) {
  auto environment =
      std::make_unique<Environment>(std::max(options.threads, 1u), options.strip_vlan_tags);
  if (auto started = environment->start(options); !started) {
    return tl::unexpected(started.error());
  }
  return environment;
}

}  // namespace xnic::nic
