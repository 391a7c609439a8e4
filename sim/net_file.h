#pragma once

#include <string>
#include <vector>

#include "vm/network.h"
#include "vm/result.h"

namespace xnic::sim {

// Reads the machine's network from files, all into one. A file is either
//  - TOML (NAME.toml): [[interface]], [[route]] and [[neighbour]] tables, keys as in
//    examples/net/two-ports.toml; or
//  - what `ip -j addr`, `ip -j route show table all`, `ip -j neigh` and `ip -j netconf` print, in
//    any order, in one file or several.
// lo is there even if no file names it, and nic0 if no file names any interface. Addresses bring
// their local routes, and where no file has routes, those to their networks.
// Errors (bad_input): one sentence with file and line, or with the entry of a list.
Result<vm::Network> read_network(const std::vector<std::string>& files);

}  // namespace xnic::sim
