#pragma once

#include <string>

// What libbpf says while it works on this thread, kept instead of printed.
namespace xnic::vm {

// From now on; forgets what was said before.
void listen_to_libbpf();

// Warnings and notices, each a line or more, without the "libbpf: " in front.
const std::string& libbpf_words();
// The program that the kernel did not take; empty if the load failed otherwise.
std::string refused_program();
// The first line that is no mere notice: there libbpf names what it stumbled over.
std::string first_libbpf_words();
// The last lines, where the verifier's reason is.
std::string last_libbpf_words();

}  // namespace xnic::vm
