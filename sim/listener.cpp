// It leaves out TLS, and clients that keep a connection. Test: tests/sim/line_control_test.cpp.
#include "sim/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

namespace xnic::sim {
namespace {

constexpr size_t kLongestRequest = 1 << 20;
constexpr int kWaiting = 16;  // clients
constexpr auto kPatience =
    std::chrono::seconds(1);  // with a client, from its first word to the last
using Clock = std::chrono::steady_clock;

// Ends with its scope.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::optional<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return std::nullopt;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

bool connects(int fd, const sockaddr_un& address) {
  return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// The socket's next operation ends then at the latest. False if that time is over.
bool limit(int fd, int option, std::optional<Clock::time_point> until) {
  if (!until) return true;
  const auto left =
      std::chrono::duration_cast<std::chrono::microseconds>(*until - Clock::now()).count();
  if (left <= 0) return false;
  const timeval time = {.tv_sec = left / 1'000'000, .tv_usec = left % 1'000'000};
  return setsockopt(fd, SOL_SOCKET, option, &time, sizeof time) == 0;
}

bool send_all(int fd, const std::string& text, std::optional<Clock::time_point> until = {}) {
  for (size_t at = 0; at < text.size();) {
    if (!limit(fd, SO_SNDTIMEO, until)) return false;
    const ssize_t sent = send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<size_t>(sent);
  }
  return true;
}

// Up to `end`, or, if it is empty, until the other side has sent all.
std::optional<std::string> receive(int fd, const std::string& end, size_t most,
                                   std::optional<Clock::time_point> until = {}) {
  std::string text;
  char piece[4096];
  for (size_t searched = 0;;) {
    if (!end.empty() && text.find(end, searched) != std::string::npos) return text;
    searched = text.size() - std::min(text.size(), end.size());
    if (text.size() > most || !limit(fd, SO_RCVTIMEO, until)) return std::nullopt;
    const ssize_t got = recv(fd, piece, sizeof piece, 0);
    if (got < 0) return std::nullopt;
    if (got == 0) return end.empty() ? std::optional(text) : std::nullopt;
    text.append(piece, static_cast<size_t>(got));
  }
}

}  // namespace

Result<Listener> Listener::at_path(const std::string& path) {
  const auto failed = [&](const char* why) {
    return fail(ExitCode::bad_input, "--control {}: {}", path, why);
  };
  const auto address = address_of(path);
  if (!address) return failed("the path of a socket has 1 to 107 bytes");
  struct stat there {};
  if (lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return failed("there is something else, which is left alone");
    const Socket probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (connects(probe.fd(), *address)) return failed("another process listens there");
    // Only a socket that nobody has any more refuses.
    if (errno != ECONNREFUSED) return failed(std::strerror(errno));
    unlink(path.c_str());
  }
  Socket made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const mode_t mask = umask(0177);
  const int bound = bind(made.fd(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  umask(mask);
  if (bound != 0 || ::listen(made.fd(), kWaiting) != 0) return failed(std::strerror(errno));
  return Listener(made.release(), path);
}

Result<Listener> Listener::at_address(const std::string& text) {
  const auto failed = [&](ExitCode code, const char* why) {
    return fail(code, "--listen {}: {}", text, why);
  };
  const size_t colon = text.rfind(':');
  uint16_t number = 0;
  const char* const end = text.data() + text.size();
  const char* const digits = colon == std::string::npos ? end : text.data() + colon + 1;
  const auto [rest, error] = std::from_chars(digits, end, number);
  if (colon == 0 || error != std::errc() || rest != end || number == 0) {
    return failed(ExitCode::usage, "write ADDRESS:PORT, such as 127.0.0.1:9100");
  }
  std::string host = text.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), text.c_str() + colon + 1, &hints, &found) != 0) {
    return failed(ExitCode::usage, "write ADDRESS:PORT, such as 127.0.0.1:9100");
  }
  Socket made(socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  setsockopt(made.fd(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const bool bound =
      bind(made.fd(), found->ai_addr, found->ai_addrlen) == 0 && ::listen(made.fd(), kWaiting) == 0;
  const int why = errno;
  freeaddrinfo(found);
  if (!bound) return failed(ExitCode::bad_input, std::strerror(why));
  return Listener(made.release(), "");
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

Listener::~Listener() {
  if (fd_ < 0) return;
  close(fd_);
  if (!path_.empty()) unlink(path_.c_str());
}

void Listener::serve(const std::string& end_of_request, const Answer& answer) {
  for (;;) {
    const Socket client(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
    if (client.fd() < 0) return;
    const auto request =
        receive(client.fd(), end_of_request, kLongestRequest, Clock::now() + kPatience);
    if (request) {
      const std::string text = answer(*request);
      static_cast<void>(send_all(client.fd(), text, Clock::now() + kPatience));
    }
  }
}

Result<std::string> ask(const std::string& path, const std::string& request) {
  const auto failed = [&](const char* why) {
    return fail(ExitCode::bad_input, "--control {}: {}", path, why);
  };
  const auto address = address_of(path);
  if (!address) return failed("the path of a socket has 1 to 107 bytes");
  const Socket made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!connects(made.fd(), *address)) {
    return fail(ExitCode::bad_input,
                "--control {}: {}; start xnic line with --control {} and ask while it runs", path,
                std::strerror(errno), path);
  }
  if (!send_all(made.fd(), request)) return failed(std::strerror(errno));
  auto answer = receive(made.fd(), "", SIZE_MAX);
  if (!answer || answer->empty()) return failed("the process ended before it answered");
  return std::move(*answer);
}

}  // namespace xnic::sim
