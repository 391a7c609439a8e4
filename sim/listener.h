#pragma once

#include <functional>
#include <string>

#include "vm/result.h"

namespace xnic::sim {

// A socket at which a process that runs takes requests, one a connection. It answers between other
// things that its thread does: nobody waits longer than a client may hesitate.
class Listener {
 public:
  // A socket in the file system, which its user alone may use. One that a process left behind is
  // taken over. Errors (bad_input): somebody listens there, the path is something else, ...
  static Result<Listener> at_path(const std::string& path);
  // "127.0.0.1:9100", or "[::1]:9100"; port 0 is any that is free. Errors: usage, bad_input.
  static Result<Listener> at_address(const std::string& address);

  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) = delete;

  // Where it listens, as the factories take it.
  const std::string& where() const { return where_; }

  // Takes the text that a client sends up to this end, and gives what it gets back.
  using Answer = std::function<std::string(const std::string& request)>;
  // Answers all who ask now.
  void serve(const std::string& end_of_request, const Answer& answer);

 private:
  Listener(int fd, std::string where, bool is_path)
      : fd_(fd), where_(std::move(where)), is_path_(is_path) {}

  int fd_;
  std::string where_;
  bool is_path_;
};

// Connects to a Listener::at_path(), asks and gives the whole answer. Error (bad_input): nobody
// listens there.
Result<std::string> ask(const std::string& path, const std::string& request);

}  // namespace xnic::sim
