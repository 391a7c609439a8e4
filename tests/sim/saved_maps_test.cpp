// Maps that went through a file are the same maps: dumps before and after agree, edits obey the
// map's own rules, and what is no such file is said.
#include "sim/saved_maps.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "sim/commands/command.h"
#include "sim/map_file.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::sim {
namespace {

namespace fs = std::filesystem;

class SavedMapsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("xnic_saved_maps_" + std::to_string(getpid()));
    fs::create_directories(folder_);
    path_ = (folder_ / "maps.json").string();
    auto object = vm::Object::load(kernel_, XNIC_EXAMPLE_OBJECT);
    ASSERT_TRUE(object) << object.error().message;
    object_ = std::move(*object);
    const std::array<uint8_t, 4> key = {10, 0, 0, 1};
    const std::array<uint8_t, 8> value = {5};
    ASSERT_EQ(map("blocked_addresses").user_update(key.data(), value.data(), BPF_ANY), 0);
    const std::array<uint8_t, 4> udp = {17};
    const std::array<uint8_t, 16> packets = {1, 0, 0, 0, 0, 0, 0, 0, 2};
    ASSERT_EQ(map("protocol_packets").user_update(udp.data(), packets.data(), BPF_ANY), 0);
    const auto saved = save_maps(path_, object_->maps(), 2);
    ASSERT_TRUE(saved) << saved.error().message;
  }
  void TearDown() override { fs::remove_all(folder_); }

  vm::Map& map(const std::string& name) {
    for (const vm::LoadedMap& loaded : object_->maps()) {
      if (loaded.name == name) return *loaded.map;
    }
    ADD_FAILURE() << name;
    return *object_->maps()[0].map;
  }

  // The exit code of "xnic map WORDS", and in `out_` what it printed.
  ExitCode run(std::vector<std::string> words) {
    words.insert(words.begin(), "map");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    testing::internal::CaptureStdout();
    const auto code = map_command(static_cast<int>(argv.size()), argv.data());
    out_ = testing::internal::GetCapturedStdout();
    return code ? *code : code.error().code;
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_, {.possible_cpus = 2}};
  std::unique_ptr<vm::Object> object_;
  fs::path folder_;
  std::string path_;
  std::string out_;
};

TEST_F(SavedMapsTest, EveryMapComesBackAsItWas) {
  const auto saved = SavedMaps::read(path_);
  ASSERT_TRUE(saved) << saved.error().message;
  ASSERT_EQ(saved->names().size(), 4u);
  for (const vm::LoadedMap& loaded : object_->maps()) {
    const auto revived = saved->live(loaded.name);
    ASSERT_TRUE(revived) << revived.error().message;
    EXPECT_EQ(dump_map(**revived).value(), dump_map(*loaded.map).value()) << loaded.name;
  }
}

TEST_F(SavedMapsTest, ASavedFileFillsTheMapOfTheName) {
  vm::Kernel other(engine_, {.possible_cpus = 2});
  auto object = vm::Object::load(other, XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(object);
  for (const vm::LoadedMap& loaded : (*object)->maps()) {
    const auto filled = fill_named_map(*loaded.map, loaded.name, path_);
    ASSERT_TRUE(filled) << filled.error().message;
    EXPECT_EQ(dump_map(*loaded.map).value(), dump_map(map(loaded.name)).value());
  }
  const auto missing = fill_named_map(*(*object)->maps()[0].map, "nothing", path_);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("holds no map nothing"), std::string::npos);
}

TEST_F(SavedMapsTest, DumpPrintsWhatBpftoolWould) {
  EXPECT_EQ(run({"dump", path_, "blocked_addresses"}), ExitCode::done);
  EXPECT_EQ(out_, dump_map(map("blocked_addresses")).value() + "\n");
}

TEST_F(SavedMapsTest, AnUpdateIsFoundByLookupAndGoneAfterDelete) {
  const std::vector<std::string> key = {"key", "hex", "0b", "00", "00", "02"};
  std::vector<std::string> update = {"update", path_, "blocked_addresses"};
  update.insert(update.end(), key.begin(), key.end());
  update.insert(update.end(), {"value", "9", "0x1", "0", "0", "0", "0", "0", "0", "noexist"});
  EXPECT_EQ(run(update), ExitCode::done);
  EXPECT_EQ(run(update), ExitCode::expectation_failed) << "noexist, and it exists";
  std::vector<std::string> lookup = {"lookup", path_, "blocked_addresses"};
  lookup.insert(lookup.end(), key.begin(), key.end());
  EXPECT_EQ(run(lookup), ExitCode::done);
  EXPECT_NE(out_.find("\"value\":265"), std::string::npos) << out_;
  std::vector<std::string> erase = lookup;
  erase[0] = "delete";
  EXPECT_EQ(run(erase), ExitCode::done);
  EXPECT_EQ(run(lookup), ExitCode::expectation_failed);
  EXPECT_EQ(run(erase), ExitCode::expectation_failed);
  EXPECT_EQ(run({"lookup", path_, "blocked_addresses", "key", "10", "0", "0", "1"}), ExitCode::done)
      << "other entries stay";
}

TEST_F(SavedMapsTest, TheValueOfAPerCpuMapGoesToAllCpus) {
  EXPECT_EQ(run({"update", path_, "protocol_packets", "key", "6", "0", "0", "0", "value", "3", "0",
                 "0", "0", "0", "0", "0", "0"}),
            ExitCode::done);
  EXPECT_EQ(run({"lookup", path_, "protocol_packets", "key", "6", "0", "0", "0"}), ExitCode::done);
  EXPECT_NE(out_.find(R"([{"cpu":0,"value":3},{"cpu":1,"value":3}])"), std::string::npos) << out_;
}

TEST_F(SavedMapsTest, AnArrayKeepsItsEntries) {
  EXPECT_EQ(run({"delete", path_, "protocol_packets", "key", "6", "0", "0", "0"}),
            ExitCode::expectation_failed);
}

TEST_F(SavedMapsTest, WrongWordsAreUsage) {
  EXPECT_EQ(run({"dump", path_, "nothing"}), ExitCode::usage);
  EXPECT_EQ(run({"lookup", path_, "blocked_addresses", "key", "1"}), ExitCode::usage);
  EXPECT_EQ(run({"lookup", path_, "blocked_addresses", "key", "1", "2", "3", "256"}),
            ExitCode::usage);
  EXPECT_EQ(run({"paint", path_}), ExitCode::usage);
}

TEST_F(SavedMapsTest, WhatIsNoSavedFileIsBadInput) {
  for (const char* text : {"", "{", "[]", R"({"maps":[{}]})", R"({"maps":[{"name":3}]})",
                           R"({"maps":[{"name":"a","key_size":-4}]})"}) {
    std::ofstream(path_) << text;
    const auto saved = SavedMaps::read(path_);
    ASSERT_FALSE(saved) << text;
    EXPECT_EQ(saved.error().code, ExitCode::bad_input);
    EXPECT_TRUE(saved.error().message.starts_with(path_));
  }
  std::ofstream(path_) << std::string(100'000, '[');
  EXPECT_FALSE(SavedMaps::read(path_));
}

TEST_F(SavedMapsTest, AFrozenMapIsNotEdited) {
  std::ifstream in(path_);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  for (size_t at = 0; (at = text.find("\"frozen\":false", at)) != std::string::npos;) {
    text.replace(at, 14, "\"frozen\":true");
  }
  std::ofstream(path_) << text;
  EXPECT_EQ(run({"delete", path_, "blocked_addresses", "key", "10", "0", "0", "1"}),
            ExitCode::bad_input);
}

}  // namespace
}  // namespace xnic::sim
