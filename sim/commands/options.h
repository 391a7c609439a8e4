#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "vm/program.h"
#include "vm/result.h"

// Options that several commands have, and how every command reads its words.
namespace xnic::sim {

// Reads the words into what `app`, named "xnic COMMAND", describes. False where help was asked for
// and given. Error (usage): what is wrong, and where help is.
Result<bool> parse(CLI::App& app, int argc, char** argv);

// A whole number from 0 on; CLI11 alone takes -1 for the largest.
CLI::Validator unsigned_number();

// Nanoseconds of "1s", "500ms", "20us", "7ns"; a bare number is seconds. Error: usage, naming the
// option.
Result<uint64_t> parse_duration(std::string_view option, const std::string& text);

CLI::Option* add_seed(CLI::App& app, uint64_t& seed);
CLI::Option* add_btf(CLI::App& app, std::string& btf);
CLI::Option* add_engine(CLI::App& app, std::string& engine);
// Changes to the values of a NIC profile.
CLI::Option* add_set(CLI::App& app, std::vector<std::string>& changes);
CLI::Validator engine_name();
// What such a name stands for. A JIT that counts instructions, or that runs as fast as it can.
std::unique_ptr<vm::Engine> make_engine(const std::string& name, bool counts = true);

}  // namespace xnic::sim
