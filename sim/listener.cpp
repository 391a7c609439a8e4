// It leaves out TLS, and clients that keep a connection. Test: tests/sim/line_control_test.cpp.
#include "sim/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

namespace xnic::sim {
namespace {

constexpr size_t kLongestRequest = 1 << 20;
constexpr int kWaiting = 16;                                // clients
constexpr timeval kPatience = {.tv_sec = 1, .tv_usec = 0};  // with a client that hesitates

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

bool send_all(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t sent = send(fd, text.data() + at, text.size() - at, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<size_t>(sent);
  }
  return true;
}

// Up to `end`, or, if it is empty, until the other side has sent all.
std::optional<std::string> receive(int fd, const std::string& end, size_t most) {
  std::string text;
  char piece[4096];
  for (;;) {
    if (!end.empty() && text.find(end) != std::string::npos) return text;
    if (text.size() > most) return std::nullopt;
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
    const Socket probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connects(probe.fd(), *address)) return failed("another process listens there");
    unlink(path.c_str());
  }
  Socket made(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const mode_t mask = umask(0177);
  const int bound = bind(made.fd(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  umask(mask);
  if (bound != 0 || ::listen(made.fd(), kWaiting) != 0) return failed(std::strerror(errno));
  return Listener(made.release(), path, true);
}

Result<Listener> Listener::at_address(const std::string& text) {
  const auto failed = [&](ExitCode code, const char* why) {
    return fail(code, "--listen {}: {}", text, why);
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
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
  const int error = errno;
  freeaddrinfo(found);
  if (!bound) return failed(ExitCode::bad_input, std::strerror(error));
  // Which port it is, where any would do.
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  getsockname(made.fd(), reinterpret_cast<sockaddr*>(&own), &size);
  const in_port_t port = own.ss_family == AF_INET6
                             ? reinterpret_cast<const sockaddr_in6*>(&own)->sin6_port
                             : reinterpret_cast<const sockaddr_in*>(&own)->sin_port;
  return Listener(made.release(), fmt::format("{}:{}", text.substr(0, colon), ntohs(port)), false);
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      where_(std::move(other.where_)),
      is_path_(other.is_path_) {}

Listener::~Listener() {
  if (fd_ < 0) return;
  close(fd_);
  if (is_path_) unlink(where_.c_str());
}

void Listener::serve(const std::string& end_of_request, const Answer& answer) {
  for (;;) {
    const Socket client(accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC));
    if (client.fd() < 0) return;
    setsockopt(client.fd(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    setsockopt(client.fd(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
    const auto request = receive(client.fd(), end_of_request, kLongestRequest);
    if (request) static_cast<void>(send_all(client.fd(), answer(*request)));
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
