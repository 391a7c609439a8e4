#pragma once

#include <string>
#include <vector>

#include "vm/result.h"

// How commands reach a process that runs (--control PATH): the words of the command, in JSON, and
// back what it prints or the error.
namespace xnic::sim {

// Takes "--control PATH" or "--control=PATH" out of the words; empty where there is none. Error:
// usage.
Result<std::string> take_control_option(std::vector<std::string>& words);

// Asks the process that listens there. Gives what is to be printed. Errors: what the process
// answers, and bad_input where there is none.
Result<std::string> ask_control(const std::string& path, const std::vector<std::string>& words);

// The other side: what `request` asked, and the answer to it.
std::vector<std::string> words_of_request(const std::string& request);
std::string answer_of(const Result<std::string>& said);

}  // namespace xnic::sim
