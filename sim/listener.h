#pragma once

#include <functional>
#include <string>
#include <utility>

#include "vm/result.h"

namespace xnic::sim {

// A socket at which a process that runs takes requests, one a connection. It answers between other
// things that its thread does: a client has a second to ask, and one to take the answer.
class Listener {
 public:
  // A socket in the file system, which its user alone may use. One that a process left behind is
  // taken over. Errors (bad_input): somebody listens there, the path is something else, ...
  static Result<Listener> at_path(const std::string& path);
  // "127.0.0.1:9100", or "[::1]:9100". Errors: usage, bad_input.
  static Result<Listener> at_address(const std::string& address);

  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) = delete;

  // Takes the text that a client sends up to this end, and gives what it gets back.
  using Answer = std::function<std::string(const std::string& request)>;
  // Answers all who ask now.
  void serve(const std::string& end_of_request, const Answer& answer);

 private:
  Listener(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  int fd_;
  std::string path_;  // to be removed at the end, if any
};

// Connects to a Listener::at_path(), asks and gives the whole answer. Error (bad_input): nobody
// listens there.
Result<std::string> ask(const std::string& path, const std::string& request);

}  // namespace xnic::sim
